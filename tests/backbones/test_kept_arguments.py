"""Networks keep their constructor arguments where their class declares it."""

import pytest
from torch import nn

from dnamdlm.backbones import Bert, CaduceusPS, CausalTransformer, ConvNet, DiT, Hyena, Mamba
from dnamdlm.backbones.kept_arguments import keeps_arguments


def test_arguments_are_kept_by_the_class_that_declares_it_and_not_by_others():
    class Kept(nn.Module):
        @keeps_arguments
        def __init__(self, width, *, depth=2):
            super().__init__()

    class Same(Kept):
        pass

    class Other(Kept):
        def __init__(self, size):
            super().__init__(size, depth=1)

    assert Kept(3).made_with == Same(width=3).made_with == {"width": 3, "depth": 2}
    assert not hasattr(Other(3), "made_with")


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (DiT, {"hidden_size": 8, "num_blocks": 1, "num_heads": 2, "dropout": 0.25}),
        (CausalTransformer, {"hidden_size": 8, "num_blocks": 1, "num_heads": 2}),
        (Mamba, {"hidden_size": 8, "num_blocks": 1}),
        (CaduceusPS, {"complement": (1, 0, 2), "hidden_size": 8, "num_blocks": 1}),
        (Bert, {"hidden_size": 8, "num_blocks": 1, "num_heads": 2, "max_length": 16}),
        (Hyena, {"hidden_size": 8, "num_blocks": 1, "max_length": 16, "vocab_multiple": 1}),
        (ConvNet, {"hidden_size": 8, "num_blocks": 1, "dilations": (1, 2)}),
    ],
)
def test_every_network_of_ours_can_be_made_again_from_what_it_keeps(kind, arguments):
    network = kind(3, **arguments)
    assert network.made_with.items() >= {"vocab_size": 3, **arguments}.items()
    twin = kind(**network.made_with)
    shapes = [{k: v.shape for k, v in n.state_dict().items()} for n in (network, twin)]
    assert shapes[0] == shapes[1]
