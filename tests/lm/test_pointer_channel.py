"""The template channel: nothing is added where there is no template, and only it is read."""

import dataclasses

import pytest
import torch

from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import batch_of_ids
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError
from dnamdlm.lm.expert_gates import Experts
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.objectives import ExactCount
from dnamdlm.lm.pointer_channel import Pointer
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY, NucleotideTokenizer
from dnamdlm.tokens.vocabulary import Vocabulary

NONE = NUCLEOTIDE_VOCABULARY.mask_id
ENCODE = NucleotideTokenizer().encode


def made(pointer, experts=None):
    """A model whose weights are all random; the channel has no part in the others."""
    torch.manual_seed(0)
    lm = MaskedDiffusionLM(
        DiT(12, 16, 2, 2, zero_init=False), NUCLEOTIDE_VOCABULARY, objective=ExactCount(),
        experts=experts, pointer=pointer,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in lm.named_parameters():
            if "pointer" not in name:
                weight.normal_(std=0.3, generator=generator)
        if lm.pointer_channel is not None:
            lm.pointer_channel.letters.normal_(generator=generator)
            lm.pointer_channel.agreement.normal_(generator=generator)
    return lm.double()


def batch(aligned=None):
    texts = ["ACGTACGTNA", "TTTTACGGCC", "CGCGCGATAT"]
    rows = batch_of_ids(
        [ENCODE(text) for text in texts], NUCLEOTIDE_VOCABULARY,
        keys=row_keys(3, torch.arange(3)),
    )  # fmt: skip
    if aligned is None:
        return rows
    ids = [[NONE] * 10 if text is None else ENCODE(text).tolist() for text in aligned]
    return dataclasses.replace(rows, aligned=torch.tensor(ids))


@pytest.mark.parametrize("experts", [None, Experts((1,))], ids=["alone", "experts"])
def test_rows_without_a_template_are_those_of_the_model_without_the_channel(experts):
    with_channel, without = made(Pointer(), experts), made(None, experts)
    expected = without.log_likelihood(batch(), draws=3).nats
    for given in (batch(), batch([None, None, None])):
        assert torch.equal(with_channel.log_likelihood(given, draws=3).nats, expected)
        assert torch.equal(with_channel.loss_terms(given).nats, without.loss_terms(batch()).nats)
    mixed = with_channel.log_likelihood(batch([None, "TTTTACGGCC", None]), draws=3).nats
    torch.testing.assert_close(mixed[[0, 2]], expected[[0, 2]])
    assert not torch.allclose(mixed[1], expected[1])


def test_of_a_hidden_base_the_network_sees_the_template_alone():
    lm = made(Pointer())
    xt = torch.from_numpy(ENCODE("AC.TAC..NA"))[None]
    template = torch.from_numpy(ENCODE("ACGTTCGTNA"))[None]
    found = lm.denoise(xt, aligned=template)
    channel = lm.pointer_channel
    added = channel(xt, template)[0]
    letters, agreement = channel.letters, channel.agreement
    torch.testing.assert_close(added[2], letters[2])
    torch.testing.assert_close(added[0], letters[0] + agreement[0])
    torch.testing.assert_close(added[4], letters[3] + agreement[1])
    torch.testing.assert_close(added[8], letters[4])
    assert found.exp().sum(-1).sub(1).abs().max() < 1e-12
    assert not torch.allclose(found, lm.denoise(xt))


def test_a_network_that_cannot_add_an_embedding_is_refused():
    complement = NUCLEOTIDE_VOCABULARY.complement
    network = CaduceusPS(12, complement, 8, 1)
    with pytest.raises(ConfigError, match="CaduceusPS does not take; use backbone=dit or copying"):
        MaskedDiffusionLM(network, NUCLEOTIDE_VOCABULARY, pointer=Pointer())


def test_another_vocabulary_is_refused():
    text = Vocabulary(symbols=("[MASK]", "[PAD]", "a", "b"), mask_id=0, pad_id=1, real_ids=(2, 3))
    with pytest.raises(ConfigError, match="another vocabulary; use copying=none"):
        MaskedDiffusionLM(DiT(4, 8, 1, 2), text, pointer=Pointer())


def test_another_training_split_is_refused():
    lm = MaskedDiffusionLM(DiT(12, 8, 1, 2), NUCLEOTIDE_VOCABULARY, pointer=Pointer())
    lm.pointer_channel.claim(bytes(range(32)))
    lm.pointer_channel.claim(bytes(range(32)))
    with pytest.raises(ConfigError, match="training split of its own training, and these data"):
        lm.pointer_channel.claim(bytes(range(1, 33)))


@pytest.mark.parametrize(
    "wrong", [{"word_length": 7}, {"share": 0.0}, {"substitutions": 0.8}], ids=str
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Pointer(**wrong)
