"""What a user writes as a reward: texts, terms and functions, and what is refused."""

import sys

import numpy as np
import pytest

import dnamdlm
from dnamdlm.assembly.design.reward_terms import RewardReader
from dnamdlm.errors import CheckpointError, ConfigError, DataError

TEXTS = ["TATAATGGCC", "GGATTATACC", "AAAAAAAAAA"]
CODE = "def ones(sequences):\n    return [1.0 for _ in sequences]\nanswer = 42\n"


@pytest.fixture
def code(tmp_path):
    yield tmp_path / "mine_of_test.py"
    sys.modules.pop("mine_of_test", None)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ([{"motif": "TATAAT"}], [1, 1, 0]),
        ([{"motif": "TATAAT", "strand": "one"}], [1, 0, 0]),
        ({"motif": "TATAAT", "weight": 2}, [2, 2, 0]),
        ([{"motif": "TATAAT", "weight": 0.5}, {"gc": [0.5, 1.0]}], [0.4, 0.4, -0.5]),
        ([{"mean": [{"motif": "TATAAT"}, {"motif": "GG", "weight": 3}]}], [3.5, 3.5, 0]),
        (
            [{"mean": [{"motif": "TATAAT"}, {"motif": "GG", "weight": 3}], "caution": 1}],
            [1, 1, 0],
        ),
        ([{"product": [{"motif": "TATAAT"}, {"motif": "A", "strand": "one"}]}], [3, 3, 0]),
        ([{"distance": "tataatggcc", "weight": -1}], [0, None, 7]),
    ],
)
def test_terms_are_computed_from_letters(terms, expected):
    found = dnamdlm.reward(terms).batch(TEXTS)
    for value, wanted in zip(found, expected, strict=True):
        if wanted is not None:
            assert value == pytest.approx(wanted, rel=1e-12)


def test_a_regression_of_words_is_a_reward_with_derivatives(tmp_path):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGT"), 30)) for _ in range(300)]
    table = tmp_path / "measured.tsv"
    rows = [f"{text}\t{text.count('TA')}\t1" for text in texts]
    table.write_text("\n".join(["sequence\tactivity\tflat", *rows]) + "\n")
    reward = dnamdlm.reward([{"kmer": str(table), "weight": 2}])
    found = reward.batch(texts)
    assert np.corrcoef(found, [text.count("TA") for text in texts])[0, 1] > 0.9
    assert reward.gradient(texts[:2])[1].shape == (2, 30, 4)
    wrong = (
        ({"column": "other"}, "reward: kmer=.* has no column other; .*with reward: column=NAME"),
        ({"column": "flat"}, "reward: kmer=.* has the activity 1 in every row"),
    )
    for given, message in wrong:
        with pytest.raises(DataError, match=message):
            dnamdlm.reward([{"kmer": str(table), **given}])


def test_a_function_in_python_is_a_reward():
    found = dnamdlm.reward(lambda texts: np.arange(len(texts)))
    assert list(found.batch(TEXTS)) == [0, 1, 2]


def test_a_function_of_a_file_runs_only_if_its_file_is_trusted(code):
    code.write_text(CODE)
    with pytest.raises(ConfigError, match=r"runs the code of .*trust=\[mine_of_test\]$"):
        dnamdlm.reward(f"{code}:ones")
    assert "mine_of_test" not in sys.modules
    found = dnamdlm.reward(f"{code}:ones", trust="mine_of_test")
    assert list(found.batch(TEXTS)) == [1, 1, 1]
    assert found.name == f"{code}:ones"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("twos", CODE, "has no function twos"),
        ("answer", CODE, "has no function answer"),
        ("ones", "def ones(:\n", "cannot be imported"),
        ("ones", "import no_such_package_here\n", "cannot be imported"),
    ],
)
def test_a_function_that_cannot_be_used_is_one_sentence(code, name, content, message):
    code.write_text(content)
    with pytest.raises(ConfigError, match=message) as found:
        dnamdlm.reward(f"{code}:{name}", trust=["mine_of_test"])
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([], "has no term"),
        ([{"motiv": "TATAAT"}], "a term with motiv; give each term exactly one of head, mean"),
        ([{}], "a term with nothing"),
        ([{"motif": "TATA", "gc": [0, 1]}], "a term with motif and gc"),
        ([{"motif": "TATA", "weightt": 2}], r"no key weightt \(did you mean weight\?\)"),
        ([{"motif": "TATA", "weight": "much"}], "weight='much' must be a number"),
        ([{"motif": "TATA", "weight": True}], "weight=True must be a number"),
        ([{"motif": "tata"}], "neither IUPAC letters"),
        ([{"motif": 3}], "motif=3 must be a text"),
        ([{"motif": "TATA", "strand": "up"}], "strand=up is unknown"),
        ([{"gc": [0.6, 0.4]}], "must be two shares in order"),
        ([{"gc": 0.5}], "needs two shares"),
        ([{"distance": "ACGN"}], "must be made of A, C, G and T"),
        ([{"mean": []}], "mean needs a list of terms"),
        ([{"mean": [{"motif": "A"}], "caution": -1}], "caution=-1 must be a number from 0"),
        ([{"mean": [{"motif": "A"}], "caution": "yes"}], "caution='yes' must be a number"),
        ([{"product": [{"motif": "A"}], "caution": 1}], "a product term has no key caution"),
        ([{"kmer": ["a.tsv"]}], r"kmer=\['a.tsv'\] must be a text"),
        ([{"head": "x", "seed": "a"}], "seed='a' must be a whole number"),
        ([7], "has the term 7"),
        (7, "is not a reward; give a run folder"),
        ("no.py:f", "no.py does not exist"),
    ],
)
def test_a_term_that_cannot_be_read_is_one_sentence(terms, message):
    with pytest.raises(ConfigError, match=message) as found:
        dnamdlm.reward(terms)
    assert "\n" not in str(found.value)


def test_a_class_is_for_one_head(tmp_path):
    with pytest.raises(ConfigError, match="reward_class=x is for one head"):
        dnamdlm.reward([{"motif": "A"}], reward_class="x")
    with pytest.raises(ConfigError, match=r"reward_class=x is for a head, and reward=a\.py:b"):
        dnamdlm.reward("a.py:b", reward_class="x")


def test_a_folder_without_heads_is_named_as_it_was_given(tmp_path):
    with pytest.raises(CheckpointError, match=f"^audit={tmp_path}/none does not exist"):
        RewardReader(setting="audit").read(f"{tmp_path}/none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"^reward=.*empty holds no fine-tuned head"):
        dnamdlm.reward([{"head": f"{tmp_path}/empty"}])
