"""A value of another kind in a JSON file of a model or a head is answered with one sentence."""

import copy
import hashlib
import json
import shutil

import pytest
from jaxtyping import TypeCheckError

from dnamdlm.assembly.head_model import Head
from dnamdlm.assembly.models import load_model
from dnamdlm.errors import DnamdlmError
from tests.entries.commands import run

OTHERS = (None, -1, 0, 1.5, "x", [], {}, True, [None], {"x": 1})
# all would take minutes; the step has no factor in common with the number of others.
STEP = 13


def places(node, place=()):
    """The places of all values within a tree."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        yield (*place, key)
        if isinstance(value, dict | list):
            yield from places(value, (*place, key))


def variants(tree):
    """The tree with one value left out, or one of another kind."""
    for place in places(tree):
        for other in ("left out", *OTHERS):
            changed = copy.deepcopy(tree)
            node = changed
            for key in place[:-1]:
                node = node[key]
            if other == "left out":
                del node[place[-1]]
            else:
                node[place[-1]] = other
            yield f"{'.'.join(map(str, place))}: {other!r}", changed


def write(file, content):
    """Write a file of a folder, with a manifest that fits."""
    file.write_text(content)
    manifest = file.with_name("manifest.json")
    tree = json.loads(manifest.read_text())
    tree["files"][file.name] = {
        "bytes": len(content), "sha256": hashlib.sha256(content.encode()).hexdigest()
    }  # fmt: skip
    manifest.write_text(json.dumps(tree))


def try_every_variant(file, act):
    """Every variant must work or be refused; whatever else an action raises is left to pytest."""
    content = file.read_text()
    worked = refused = 0
    for what, tree in [*variants(json.loads(content))][::STEP]:
        write(file, json.dumps(tree))
        # pytest shows the last of these lines with what was raised.
        print(what)
        try:
            act()
            worked += 1
        except (DnamdlmError, TypeCheckError):
            # only tests check the types of arguments, and an integer does for a number.
            refused += 1
    assert min(worked, refused) > 10


@pytest.fixture(scope="module")
def heads(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("json_of_heads")
    rows = "".join(f"{'ACGTTGCAAC' * 3},{i % 2}\n{'TTGACCGATA' * 3},{i % 2}\n" for i in range(20))
    (folder / "train.csv").write_text(f"sequence,label\n{rows}")
    run(
        "finetune", f"model={trained}", "config=table", "baselines=[]", "seeds=1", "bootstrap=0",
        "method=probe", f"data.train={folder}/train.csv", f"run_dir={folder}/ft",
    )  # fmt: skip
    return folder / "ft"


def test_a_model_whose_description_is_damaged_is_refused_or_works(trained, tmp_path):
    step = tmp_path / "step"
    shutil.copytree(max((trained / "checkpoints").glob("step_*")), step)

    def act():
        loaded = load_model(str(step))
        assert loaded.length > 0

    try_every_variant(step / "model.json", act)


def test_a_head_whose_description_is_damaged_is_refused_or_works(heads, tmp_path):
    run_dir = tmp_path / "ft"
    shutil.copytree(heads, run_dir)

    def act():
        head = Head(run_dir, device="cpu")
        assert len(head.predict(["ACGTTGCAAC" * 2])) == 1

    try_every_variant(run_dir / "splits/model_seed_1/head.json", act)
