"""A small package outside dnamdlm, written into a folder, with networks as users write them."""

from pathlib import Path

NAME = "mynet"
VERSION = "0.3"

INIT = f'__version__ = "{VERSION}"\n'

NETS = '''
"""Networks of somebody else."""

import os
import signal

import torch
from torch import nn

from mynet import layers


class Plain(nn.Module):
    """Ids to logits; every argument is an attribute of the same name."""

    def __init__(self, num_ids=12, width=8, dilations=(1, 2)):
        super().__init__()
        self.num_ids, self.width, self.dilations = num_ids, width, dilations
        self.embed = nn.Embedding(num_ids, width)
        self.convs = nn.ModuleList([layers.Conv(width, d) for d in dilations])
        self.dropout = nn.Dropout(0.1)
        self.out = nn.Linear(width, num_ids)

    def forward(self, ids):
        x = self.embed(ids)
        for conv in self.convs:
            x = x + self.dropout(conv(x))
        return self.out(x)


class Killed(Plain):
    """Sends its own process a signal in the training step that the environment names."""

    calls = 0

    def forward(self, ids):
        if self.training:
            Killed.calls += 1
            if Killed.calls == int(os.environ.get("SIGNAL_AT", 0)):
                os.kill(os.getpid(), getattr(signal, os.environ["SIGNAL"]))
        return super().forward(ids)


class Hidden(nn.Module):
    """Its arguments are not kept; it has hidden states, and reads time and padding."""

    def __init__(self, sizes):
        super().__init__()
        num_ids, width = sizes
        self.embed = nn.Embedding(num_ids, width)
        self.time = nn.Linear(1, width)
        self.head = nn.Linear(width, num_ids)

    def hidden(self, ids, time, present=None):
        x = self.embed(ids) + self.time(time[:, None])[:, None]
        if present is not None:
            x = x * present[..., None]
        return x

    def forward(self, ids, time, present=None):
        return self.head(self.hidden(ids, time, present))


class Whole(nn.Module):
    """A backbone with its whole interface."""

    time_conditioning = False

    def __init__(self, vocab_size, width=8):
        super().__init__()
        self.vocab_size, self.width = vocab_size, width
        self.embed = nn.Embedding(vocab_size, width)
        self.head = nn.Linear(width, vocab_size)

    def hidden(self, ids, time=None, present=None):
        return self.embed(ids)

    def forward(self, ids, time=None, present=None):
        return self.head(self.hidden(ids))


class Causal(nn.Module):
    """A network whose outputs see only the past."""

    causal = True

    def __init__(self, width=8):
        super().__init__()
        self.width = width
        self.embed = nn.Embedding(12, width)
        self.rnn = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, 12)

    def forward(self, ids):
        return self.out(self.rnn(self.embed(ids))[0])


class Doubling(nn.Module):
    """An attribute that is not the argument of its name."""

    def __init__(self, width=4):
        super().__init__()
        self.width = 2 * width
        self.embed = nn.Embedding(12, self.width)
        self.out = nn.Linear(self.width, 12)

    def forward(self, ids):
        return self.out(self.embed(ids))


class Narrow(Plain):
    """Gives fewer logits than there are ids."""

    def forward(self, ids):
        return super().forward(ids)[..., :4]


class Twofold(Plain):
    """Gives more than logits."""

    def forward(self, ids):
        return super().forward(ids), None


class Extra(Plain):
    """Keeps a state that is not a tensor."""

    def get_extra_state(self):
        return {"epoch": 3}

    def set_extra_state(self, state):
        pass


class Frozen(Plain):
    """Has nothing to train."""

    def __init__(self):
        super().__init__()
        self.requires_grad_(False)
'''

LAYERS = '''
"""Layers of somebody else."""

from torch import nn


class Conv(nn.Module):
    def __init__(self, width, dilation):
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)

    def forward(self, x):
        return self.conv(x.transpose(1, 2)).transpose(1, 2).relu()
'''


def write_package(folder: Path) -> Path:
    """Write the package and the record of its installation; the folder goes into sys.path."""
    package = folder / NAME
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(INIT)
    (package / "nets.py").write_text(NETS)
    (package / "layers.py").write_text(LAYERS)
    record = folder / f"{NAME}_networks-{VERSION}.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {NAME}-networks\nVersion: {VERSION}\n"
    )
    (record / "top_level.txt").write_text(f"{NAME}\n")
    return folder
