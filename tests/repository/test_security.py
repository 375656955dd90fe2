"""Rules that keep foreign code out: no unpickling, no code from hubs, no evaluation of text."""

import ast

import pytest

from tests.repository.sources import SHIPPED, imported_packages, name_of, python_files, syntax_tree

# modules whose only use is to run what a file says
RUNS_FILES = ("dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy", "code", "cloudpathlib")
# names of pickle that read nothing
HARMLESS_PICKLE = {"UnpicklingError", "PicklingError", "dumps", "HIGHEST_PROTOCOL"}
# where a process unpickles what a process that it started, or that started it, has sent
READS_OWN_PROCESSES = ("dnamdlm/assembly/workers.py", "dnamdlm/assembly/worker_process.py")


def calls(path):
    """(dotted name, call) of every call in a file; the name is empty where it is no plain name."""
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(call, name):
    """The literal that a call gives for an argument; None where it gives none or no literal."""
    for item in call.keywords:
        if item.arg == name and isinstance(item.value, ast.Constant):
            return item.value.value
    return None


def offences(rule):
    return [
        f"{name_of(path)}:{call.lineno}: {name}"
        for path in python_files(*SHIPPED)
        for name, call in calls(path)
        if rule(name, call)
    ]


def test_tensors_are_read_with_weights_only():
    assert (
        offences(
            lambda name, call: (
                name.endswith("torch.load") and keyword(call, "weights_only") is not True
            )
        )
        == []
    )


def test_lightning_is_told_to_read_weights_only():
    found = [
        call
        for path in python_files("dnamdlm/training")
        for name, call in calls(path)
        if name == "trainer.fit" and any(item.arg == "ckpt_path" for item in call.keywords)
    ]
    assert found
    assert all(keyword(call, "weights_only") is True for call in found)


def test_pickle_is_imported_for_what_reads_nothing():
    used = [
        f"{name_of(path)}: pickle.{node.attr}"
        for path in python_files(*SHIPPED)
        for node in ast.walk(syntax_tree(path))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("pickle", "_pickle", "cPickle")
        and node.attr not in HARMLESS_PICKLE
    ]
    from_pickle = [
        name_of(path)
        for path in python_files(*SHIPPED)
        for node in ast.walk(syntax_tree(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pickle")
    ]
    assert used + from_pickle == []


def test_only_own_processes_are_listened_to():
    found = offences(
        lambda name, _: name.endswith((".recv", ".Listener", ".Client", "BaseManager"))
    )
    files = {place.partition(":")[0] for place in found}
    assert {name for name in files if name.startswith("dnamdlm/")} == set(READS_OWN_PROCESSES)


@pytest.mark.parametrize("package", RUNS_FILES)
def test_no_module_is_imported_that_runs_what_a_file_says(package):
    files = [name_of(path) for path in python_files(*SHIPPED) if package in imported_packages(path)]
    assert files == []


def is_wrong_keyword(name, wrong):
    """A rule on one argument: given, and not as a harmless literal."""

    def rule(_, call):
        given = any(item.arg == name for item in call.keywords)
        return given and wrong(keyword(call, name))

    return rule


def is_named(*names):
    """A rule on the function that is called."""
    return lambda name, _: name in names


RULES = {
    "arrays with objects": is_wrong_keyword("allow_pickle", lambda value: value is not False),
    "code from a hub": is_wrong_keyword("trust_remote_code", lambda value: value is not False),
    "a shell": is_wrong_keyword("shell", lambda value: value is not False),
    "a command line": is_named("os.system", "os.popen", "subprocess.getoutput"),
    "objects of YAML": is_named("yaml.load", "yaml.unsafe_load", "yaml.full_load"),
    "evaluation": is_named("eval", "exec", "compile", "__import__"),
    "the hub of torch": lambda name, _: name.startswith("torch.hub."),
    "archives without a filter": lambda name, call: (
        name.endswith("extractall") and keyword(call, "filter") != "data"
    ),
}


@pytest.mark.parametrize("what", RULES)
def test_the_shipped_code_does_without(what):
    assert offences(RULES[what]) == []
