"""The examples in docstrings give what they say they give."""

import ast
import doctest
import importlib

import pytest

from tests.repository.sources import ROOT, name_of, python_files

# names that a user meets first: each shows its use
WITH_EXAMPLE = {
    "dnamdlm/backbones/autoregressive.py": ["CausalTransformer"],
    "dnamdlm/backbones/bidirectional.py": ["Mamba"],
    "dnamdlm/backbones/caduceus.py": ["CaduceusPS"],
    "dnamdlm/backbones/dit.py": ["DiT"],
    "dnamdlm/backbones/plain_module.py": ["as_backbone"],
    "dnamdlm/diffusion/categorical.py": ["Choice"],
    "dnamdlm/diffusion/constraints.py": ["Constraints"],
    "dnamdlm/diffusion/losses.py": ["masked_nll"],
    "dnamdlm/diffusion/randomness.py": ["row_keys"],
    "dnamdlm/diffusion/reverse.py": ["reverse_process"],
    "dnamdlm/diffusion/schedules.py": ["LogLinear"],
    "dnamdlm/diffusion/shortcuts.py": ["mask", "nelbo", "sample", "subs"],
    "dnamdlm/diffusion/steps.py": ["Ancestral", "FirstHitting", "StepRule"],
    "dnamdlm/data/content_keys.py": ["content_keys"],
    "dnamdlm/lm/causal.py": ["CausalLM"],
    "dnamdlm/lm/classifier.py": ["NoisyClassifier"],
    "dnamdlm/lm/markov.py": ["MarkovLM", "MarkovModel"],
    "dnamdlm/lm/masked.py": ["MaskedDiffusionLM"],
    "dnamdlm/lm/objectives.py": ["Objective"],
    "dnamdlm/lm/position_probs.py": ["position_log_probs"],
    "dnamdlm/lm/sampling/class_guidance.py": ["ClassGuidance", "ClassifierGuidance"],
    "dnamdlm/lm/sampling/generation.py": ["Template", "generate_pieces"],
    "dnamdlm/lm/sampling/sampler_names.py": ["as_sampler"],
    "dnamdlm/lm/sampling/samplers.py": ["AncestralSampler", "SemiAutoregressiveSampler"],
    "dnamdlm/ops/attention.py": ["attend"],
    "dnamdlm/ops/scan.py": ["selective_scan"],
    "dnamdlm/tokens/nucleotide.py": ["NucleotideTokenizer"],
    "dnamdlm/tokens/vocabulary.py": ["Vocabulary"],
}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def _examples():
    """File, name and docstring of everything with an example, read from the source.

    The finder of `doctest` would skip functions that the shape checks of the test run wrap.
    """
    for path in python_files("dnamdlm"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.get_docstring(node, clean=False) if isinstance(node, DOCUMENTED) else None
            if text is not None and ">>>" in text:
                yield name_of(path), getattr(node, "name", "module"), text


EXAMPLES = list(_examples())


@pytest.mark.parametrize(
    ("file", "name", "text"), EXAMPLES, ids=[f"{file}::{name}" for file, name, _ in EXAMPLES]
)
def test_an_example_gives_what_it_says(file, name, text):
    name_in_python = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    module = importlib.import_module(name_in_python)
    example = doctest.DocTestParser().get_doctest(text, vars(module), name, str(ROOT / file), 0)
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    failed, _ = runner.run(example, out=report.append)
    assert failed == 0, "".join(report)


@pytest.mark.parametrize("file", WITH_EXAMPLE)
def test_a_main_name_has_an_example(file):
    shown = {name for where, name, _ in EXAMPLES if where == file}
    assert set(WITH_EXAMPLE[file]) <= shown
