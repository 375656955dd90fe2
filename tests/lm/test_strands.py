"""The diffusion model over Caduceus-PS treats both strands of DNA as one molecule."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.equivariance import StrandAverage
from dnamdlm.diffusion.losses import masked_nll
from dnamdlm.diffusion.schedules import LogLinear, nelbo_weight
from dnamdlm.diffusion.times import Stratified
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

COMPLEMENT = torch.tensor(NUCLEOTIDE_VOCABULARY.complement)
MASK = NUCLEOTIDE_VOCABULARY.mask_id


def _randomised(network):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    lm = MaskedDiffusionLM(network.eval(), NUCLEOTIDE_VOCABULARY, LogLinear(), Stratified())
    return lm.double()


def _caduceus(**options):
    complement = NUCLEOTIDE_VOCABULARY.complement
    return _randomised(CaduceusPS(12, complement, 16, 2, state_size=4, **options))


def _average():
    network = Mamba(12, 16, 2, state_size=4)
    return _randomised(StrandAverage(network, NUCLEOTIDE_VOCABULARY.complement))


MODELS = {
    "ps": _caduceus,
    "ps that exchanges strands": lambda: _caduceus(exchange_strands=True),
    "average of ph": _average,
}


def _nelbo(lm, tokens, masked, t):
    """Weighted nats per token for given masks."""
    xt = torch.where(masked, MASK, tokens)
    weight = nelbo_weight(lm.schedule, t)
    return masked_nll(lm.denoise(xt, t), tokens, xt, weight, mask_id=MASK)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_bound_is_the_same_for_both_strands_under_matched_masks(model, data):
    length = data.draw(st.integers(1, 40))
    row = st.lists(st.sampled_from([7, 8, 9, 10, 11]), min_size=length, max_size=length)
    tokens = torch.tensor([data.draw(row)])
    chosen = data.draw(st.lists(st.booleans(), min_size=length, max_size=length))
    # N is seen and never masked.
    masked = torch.tensor([chosen]) & (tokens != 11)
    t = torch.tensor([data.draw(st.floats(0.05, 1.0))], dtype=torch.float64)
    lm = MODELS[model]()
    ahead = _nelbo(lm, tokens, masked, t)
    back = _nelbo(lm, COMPLEMENT[tokens.flip(1)], masked.flip(1), t)
    torch.testing.assert_close(back.flip(1), ahead)


@pytest.mark.parametrize("model", MODELS)
def test_what_a_sampler_draws_from_is_the_same_for_both_strands(model):
    lm = MODELS[model]()
    xt = torch.randint(7, 11, (2, 30), generator=torch.Generator().manual_seed(0))
    xt[:, ::3] = MASK
    ahead = lm.denoise(xt)
    back = lm.denoise(COMPLEMENT[xt.flip(1)])
    expected = ahead.flip(1)[..., COMPLEMENT]
    torch.testing.assert_close(back.exp(), expected.exp())
