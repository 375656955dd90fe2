"""The precision of networks outside training."""

from contextlib import nullcontext

import pytest
import torch

from dnamdlm.backbones.autoregressive import CausalTransformer
from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.batch import batch_of_ids
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.ops import precision
from dnamdlm.ops.precision import computing_on, get_precision, precision_on, set_precision
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY, NucleotideTokenizer

CPU = torch.device("cpu")
# eight bits of bfloat16 in two blocks; the bound is about 2 bits per base.
BFLOAT16_TOLERANCE = 0.02


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    monkeypatch.setattr(precision, "_setting", precision._Setting())


@pytest.fixture(scope="module")
def lm():
    torch.manual_seed(0)
    backbone = DiT(vocab_size=12, hidden_size=16, num_blocks=2, num_heads=2)
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return MaskedDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY)


@pytest.fixture(scope="module")
def batch():
    return batch_of_ids([NucleotideTokenizer().encode("ACGTTGCATAGC" * 4)], NUCLEOTIDE_VOCABULARY)


def test_auto_is_float32_on_a_cpu():
    assert get_precision() == "auto"
    assert precision_on(CPU) == "32-true"
    with computing_on(CPU):
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    ("name", "kept"),
    [("auto", "high"), ("tf32", "high"), ("32-true", "highest"), ("bf16-mixed", "high")],
)
def test_products_are_rounded_on_a_gpu_within_the_block_alone(name, kept, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_: nullcontext())
    set_precision(name, torch.device("cuda"))
    with computing_on(torch.device("cuda")):
        assert torch.get_float32_matmul_precision() == kept
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(
    ("name", "words"), [("half", "is unknown; use one of auto, 32-true"), ("tf32", "CUDA GPUs")]
)
def test_what_has_no_meaning_is_refused(name, words):
    with pytest.raises(ConfigError, match=words):
        set_precision(name, CPU)


def test_likelihoods_and_states_are_computed_in_bfloat16_where_that_is_set(lm, batch):
    def computed():
        hidden = batch.tokens.masked_fill(torch.arange(48) % 5 == 0, lm.mask_id)
        nats = lm.log_likelihood(batch, draws=4).nats.sum()
        return nats, lm.hidden(batch).detach(), lm.denoise(hidden).detach()

    plain = computed()
    set_precision("bf16-mixed", CPU)
    half = computed()
    assert not torch.equal(half[0], plain[0])
    assert half[0].dtype == plain[0].dtype == torch.float64
    torch.testing.assert_close(half[0], plain[0], rtol=BFLOAT16_TOLERANCE, atol=0)
    assert not torch.equal(half[2], plain[2])
    assert half[1].dtype == half[2].dtype == torch.float32
    set_precision("32-true", CPU)
    again = computed()
    assert all(torch.equal(a, b) for a, b in zip(again, plain, strict=True))


def test_training_is_left_to_the_trainer(lm, batch):
    plain = lm.loss_terms(batch).nats
    set_precision("bf16-mixed", CPU)
    assert torch.equal(lm.loss_terms(batch).nats, plain)


MODELS = {
    "masked": lambda: MaskedDiffusionLM(DiT(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY),
    "blocks": lambda: BlockDiffusionLM(DiT(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY, block_length=2),
    "causal": lambda: CausalLM(CausalTransformer(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY),
    "Mamba": lambda: CausalLM(Mamba(12, 16, 1, directions="forward"), NUCLEOTIDE_VOCABULARY),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_generates_in_bfloat16(name):
    set_precision("bf16-mixed", CPU)
    made = MODELS[name]().generate(row_keys(0, torch.arange(2)), 4)
    assert not bool((made.tokens == NUCLEOTIDE_VOCABULARY.mask_id).any())
