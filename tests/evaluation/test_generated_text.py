"""Generative perplexity of models whose laws are known, entropy and repetition of known texts."""

import itertools
import json
import math

import numpy as np
import pytest
import torch

from dnamdlm.errors import ConfigError, DataError
from dnamdlm.evaluation.text import mauve as mauve_module
from dnamdlm.evaluation.text.scorers import CheckpointScorer, hugging_face_scorer, padded
from dnamdlm.evaluation.text.text_quality import (
    TextSample,
    distinct_ngrams,
    generative_bits,
    reading_windows,
    repeated_ngrams,
    retokenized,
    text_quality,
    text_states,
    token_entropy,
)
from dnamdlm.lm.causal import CausalLM
from dnamdlm.tokens.text_tokenizer import ByteTokenizer, CharacterTokenizer
from tests.helpers.rounding import additions, rounding

A, B = ord("a"), ord("b")
# p(next | last) of a chain over the bytes a and b.
CHAIN = {("a", "a"): 0.9, ("a", "b"): 0.1, ("b", "a"): 0.25, ("b", "b"): 0.75}


class Chain:
    """A scorer that knows the chain, and counts how many tokens it reads at once."""

    name = "chain"
    tokenizer = ByteTokenizer()

    def __init__(self, context=1000):
        self.context, self.longest = context, 0

    def nats(self, tokens, present):
        self.longest = max(self.longest, tokens.shape[1])
        result = torch.zeros(tokens.shape, dtype=torch.float64)
        for row, ids in enumerate(tokens.tolist()):
            for place, (last, new) in enumerate(itertools.pairwise(ids), start=1):
                p = CHAIN.get((chr(last), chr(new)), 0.5) if max(last, new) < 256 else 0.5
                result[row, place] = -math.log(p)
        return result

    def states(self, tokens, present):
        return tokens[torch.arange(len(tokens)), present.sum(dim=1) - 1, None].double()


def sample(text):
    return TextSample(text, ByteTokenizer().encode(text))


def test_perplexity_is_that_of_the_chain_over_all_texts_and_leaves_out_first_tokens():
    rate = generative_bits(["aab", "b", "bbba"], Chain())
    factors = [0.9, 0.1, 0.75, 0.75, 0.25]
    assert rate.count == 5
    assert 2**rate.value == pytest.approx(math.prod(factors) ** (-1 / 5), rel=1e-12)


def test_enumerated_texts_have_the_entropy_rate_of_the_chain():
    bits, count = 0.0, 0
    for text in itertools.product("ab", repeat=5):
        p = 0.5 * math.prod(CHAIN[pair] for pair in itertools.pairwise(text))
        rate = generative_bits(["".join(text)], Chain())
        bits, count = bits + p * rate.value * rate.count, count + p * rate.count
    rates = {last: -sum(CHAIN[last, b] * math.log2(CHAIN[last, b]) for b in "ab") for last in "ab"}
    law, expected = {"a": 0.5, "b": 0.5}, 0.0
    for _ in range(4):
        expected += sum(law[last] * rates[last] for last in "ab")
        law = {b: sum(law[last] * CHAIN[last, b] for last in "ab") for b in "ab"}
    assert count == pytest.approx(4)
    assert bits / count == pytest.approx(expected / 4, rel=1e-12)


@pytest.mark.parametrize("context", [2, 3, 4, 7])
def test_windows_of_a_scorer_with_enough_context_change_nothing(context):
    texts = ["abbabaabba" * 3, "ba"]
    short, long = Chain(context), Chain()
    assert generative_bits(texts, short).value == pytest.approx(generative_bits(texts, long).value)
    assert short.longest == context


@pytest.mark.parametrize(("length", "context"), [(0, 4), (3, 4), (4, 4), (5, 4), (23, 4), (9, 1)])
def test_windows_hold_every_token_once(length, context):
    fresh = []
    for first, last, new in reading_windows(length, context):
        assert first <= new < last <= length
        assert last - first <= context
        fresh += range(new, last)
    assert fresh == list(range(length))


def test_marks_become_the_end_mark_of_the_scorer_and_are_not_scored():
    ids, scored = retokenized("ab<|end|>b[S]", ByteTokenizer(), ["<|end|>", "[S]"])
    assert ids.tolist() == [A, B, 256, B, 256]
    assert scored.tolist() == [True, True, False, True, False]
    ids, scored = retokenized("ab<|end|>b", CharacterTokenizer(), ["<|end|>"])
    assert len(ids) == 3
    assert scored.all()
    assert generative_bits(["ab<|end|>b"], Chain(), ["<|end|>"]).count == 2


def test_entropy_of_known_texts():
    assert token_entropy(np.array([3, 3, 3])) == 0.0
    assert token_entropy(np.arange(8)) == pytest.approx(math.log(8))
    assert token_entropy(np.array([0, 0, 0, 1])) == pytest.approx(
        -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    )
    quality = text_quality([sample("aaaa"), sample("abcd")], None)
    assert quality.entropy.value == pytest.approx(math.log(4) / 2)
    assert quality.perplexity is None


def test_repetition_of_known_texts():
    rows = [np.array([1, 2, 1, 2, 1]), np.array([1, 2])]
    assert distinct_ngrams(rows, 1) == pytest.approx(2 / 7)
    assert distinct_ngrams(rows, 2) == pytest.approx(2 / 5)
    assert repeated_ngrams(rows, 2) == pytest.approx((0.5 + 0.0) / 2)
    assert math.isnan(distinct_ngrams(rows, 6))


def test_the_report_is_json_without_nan():
    json.dumps(text_quality([sample("ab")], Chain()).to_json(), allow_nan=False)


def test_nothing_to_score_is_an_error():
    with pytest.raises(DataError, match="no text has two tokens"):
        generative_bits(["a", ""], Chain())
    with pytest.raises(DataError, match="there is no text"):
        text_quality([TextSample("", np.array([], dtype=np.int64))], None)


def test_empty_texts_are_counted_and_in_no_figure():
    some, all_ = (
        [sample("aab"), sample("bb")],
        [sample(""), sample("aab"), sample(" "), sample("bb")],
    )
    quality, expected = text_quality(all_, Chain()).to_json(), text_quality(some, Chain()).to_json()
    assert (quality.pop("num_texts"), quality.pop("num_empty")) == (4, 2)
    assert (expected.pop("num_texts"), expected.pop("num_empty")) == (2, 0)
    assert quality == expected
    assert text_states(all_, Chain()).tolist() == text_states(some, Chain()).tolist()


@pytest.mark.parametrize("name", ["{}/typo", "./typo/b/c", "a/b/c"])
def test_a_mistyped_path_is_not_looked_for_on_the_hub(name, tmp_path):
    with pytest.raises(DataError, match="does not exist; give a run folder"):
        hugging_face_scorer(name.format(tmp_path))


class Unigram(torch.nn.Module):
    """A causal backbone of ours with the same logits everywhere."""

    causal, vocab_size, time_conditioning = True, 259, False

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, tokens, time=None, present=None):
        return self.logits.expand(*tokens.shape, -1)

    def hidden(self, tokens, time=None, present=None):
        return tokens.unsqueeze(-1).float()

    def head(self, states):
        return self.logits.expand(*states.shape[:-1], -1)


def test_a_checkpoint_of_ours_scores_text_as_its_law_says():
    logits = torch.full((259,), -math.inf, dtype=torch.float64)
    logits[A], logits[B] = math.log(0.8), math.log(0.2)
    lm = CausalLM(Unigram(logits), ByteTokenizer().vocabulary).eval()
    scorer = CheckpointScorer(lm, ByteTokenizer(), 4, "unigram")
    rate = generative_bits(["babaaab", "ba"], scorer)
    # without first tokens: a b a a a b, and a
    assert 2**rate.value == pytest.approx((0.8**5 * 0.2**2) ** (-1 / 7), rel=1e-12)
    assert text_states([sample("ab"), sample("aaba")], scorer)[:, 0].tolist() == [B, A]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A GPT-2 of random weights with a tokenizer of 256 bytes and an end mark."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    folder = tmp_path_factory.mktemp("gpt2")
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {letter: id_ for id_, letter in enumerate(["<|endoftext|>", *sorted(alphabet)])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    sizes = {"n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2}
    config = transformers.GPT2Config(vocab_size=257, bos_token_id=0, eos_token_id=0, **sizes)
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(20)
    model.save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore")
def test_a_model_of_transformers_scores_text_as_its_own_loss_does(gpt2):
    scorer = hugging_face_scorer(str(gpt2))
    assert scorer.context == 8
    texts = ["hello", "a b c"]
    losses = []
    for text in texts:
        ids = torch.from_numpy(scorer.tokenizer.encode(text))[None]
        losses.append(scorer.model(input_ids=ids, labels=ids).loss.item())
    rate = generative_bits(texts, scorer)
    assert rate.count == 8
    allowed = rounding(additions(scorer.model))
    assert rate.value * math.log(2) == pytest.approx(np.mean(losses), rel=allowed)
    # rows of several lengths in one call are what they are alone
    rows = [scorer.tokenizer.encode(text) for text in ("hello", "yes")]
    together = scorer.nats(*padded(rows, scorer.tokenizer.vocabulary.pad_id))
    alone = scorer.nats(*padded(rows[1:], 0))
    expected = alone[0].tolist()
    assert together[1, :3].tolist() == pytest.approx(expected, abs=allowed * max(expected))
    long = generative_bits(["to be or not to be"], scorer)
    assert long.count == 17


@pytest.mark.filterwarnings("ignore")
def test_a_folder_without_a_tokenizer_or_model_is_named(gpt2, tmp_path):
    with pytest.raises(DataError, match="has no tokenizer"):
        hugging_face_scorer(str(tmp_path))
    (tmp_path / "tokenizer.json").write_bytes((gpt2 / "tokenizer.json").read_bytes())
    with pytest.raises(DataError, match="cannot be read as a causal model"):
        hugging_face_scorer(str(tmp_path))


def test_without_transformers_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ConfigError, match="package transformers, which is not installed"):
        hugging_face_scorer("gpt2")


def test_mauve_is_what_the_package_says(monkeypatch):
    states = np.random.default_rng(0).normal(size=(30, 4))

    class Package:
        @staticmethod
        def compute_mauve(*, p_features, q_features, seed, verbose):
            assert p_features is states
            return type("Result", (), {"mauve": np.float64(0.5)})

    monkeypatch.setattr(mauve_module.importlib, "import_module", lambda name: Package)
    assert mauve_module.mauve(states, states) == 0.5
    with pytest.raises(DataError, match="at least 20 generated and 20 real texts, got 3 and 30"):
        mauve_module.mauve(states[:3], states)


def test_without_mauve_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mauve", None)
    with pytest.raises(ConfigError, match="needs the package mauve-text"):
        mauve_module.check_mauve()
