"""Losses with and without compilation: `python -m tests.helpers.compiled_losses` prints JSON.

A process of its own, since what pytest adds to the package to check shapes is not for a compiler.
`losses [NAME ...]` compares loss and gradients in float64, `run FOLDER` a run that is compiled in
parts, `ranks FOLDER true|false` one on the ranks that torchrun began, `failing FOLDER` one whose
compiler fails; `cache` makes code and counts what of it was there before.
"""

import json
import os
import sys

import torch
import torch._dynamo
from torch._dynamo.utils import counters

from dnamdlm.lm import places
from dnamdlm.training import compilation
from dnamdlm.training.compilation import CompiledLoss
from tests.helpers import entries
from tests.helpers.tiny_models import MODELS, batch, model

# the compiler in front of the one that makes code: it traces both passes, and runs the operators.
TRACER = "aot_eager"
MORE = {
    "dit, many ids": MODELS["dit"],
    "dit, experts": ("experts=wildcard", *MODELS["dit"]),
    "convnet": ("backbone=convnet", "backbone.hidden_size=16", "backbone.num_blocks=2"),
    "hyena": ("lm=ar", "backbone=hyena", "backbone.hidden_size=16", "backbone.num_blocks=1"),
}
LOSSES = {**MODELS, **MORE}


def of_loss(name):
    """Largest differences of two micro-batches, relative to the largest entry, and graphs."""
    lm = model(*LOSSES[name]).double()
    places.SMALL_VOCABULARY = 4 if name == "dit, many ids" else 4096
    torch._dynamo.reset()
    counters.clear()
    compiled = CompiledLoss(lm, TRACER, fullgraph=True)
    differences = {"loss": 0.0, "gradients": 0.0}
    for seed in (0, 1):
        given = batch(
            padded="padded" in name,
            labelled=name in {"classifier", "dit, everything"},
            seed=seed,
        )
        found, expected = (with_gradients(lm, loss, given) for loss in (compiled, lm.loss_terms))
        differences = {
            part: max(largest, *map(relative, found[part], expected[part]))
            for part, largest in differences.items()
        }
    return differences | {"graphs": counters["stats"]["unique_graphs"]}


def relative(found, expected):
    """The largest difference, relative to the largest entry."""
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6))


def with_gradients(lm, loss, given):
    """The fields of a loss, and gradients of what is minimised; dropout as in any other call."""
    torch.manual_seed(0)
    lm.zero_grad(set_to_none=True)
    terms = loss(given)
    minimised = terms.nats if terms.minimised is None else terms.minimised
    minimised.sum().backward()
    gradients = [p.grad for p in lm.parameters() if p.grad is not None]
    return {"loss": [terms.nats.detach(), minimised.detach()], "gradients": gradients}


def run(folder):
    """Train with compilation, then without, and the other way round; then without at all."""
    compilation.BACKEND = TRACER
    for name, ways in {
        "first": (True, False),
        "second": (False, True),
        "plain": (False, False),
    }.items():
        for steps, is_compiled in zip((2, 4), ways, strict=True):
            _train(f"{folder}/{name}", steps, str(is_compiled).lower())
    return {"graphs": counters["stats"]["unique_graphs"]}


def ranks(folder, is_compiled):
    """Train on as many ranks as there are, each of which compiles its loss."""
    compilation.BACKEND = TRACER
    _train(folder, 4, is_compiled)
    return {"graphs": counters["stats"]["unique_graphs"]}


def _train(run_dir, steps, compile):
    """A tiny run of some steps, begun or resumed."""
    entries.train(
        entries.composed(
            "train", "config=tiny", f"run_dir={run_dir}", "data.length=32",
            "backbone.hidden_size=16", "backbone.num_blocks=1", "trainer.precision=64-true",
            "trainer.micro_batch_size=4", "trainer.valid_windows=4",
            "trainer.checkpoint_every=2", "trainer.valid_every=4",
            "trainer.log_every=1", f"trainer.max_steps={steps}",
            "resume.allow=[trainer.max_steps]", f"trainer.compile={compile}",
        )
    )  # fmt: skip


def failing(folder):
    """Train with a compiler that fails, and that may be done without."""

    @torch._dynamo.register_backend(name="failing")
    def fail(graph, inputs):
        raise RuntimeError("no space left")

    compilation.BACKEND = "failing"
    compilation.GAINS_ON_CPU = {"DiT": 9.0}
    _train(folder, 2, "auto")
    return {}


def cache():
    """Make code for a small loss; where it is kept, and how much of it was found there."""
    lm = model(*MODELS["ar"])
    given = batch(padded=False, labelled=False)
    found = with_gradients(lm, CompiledLoss(lm, compilation.BACKEND), given)
    expected = with_gradients(lm, lm.loss_terms, given)
    hits = {
        name: number
        for part in counters.values()
        for name, number in part.items()
        if name.endswith("cache_hit")
    }
    differences = map(relative, found["gradients"], expected["gradients"])
    return {"folder": os.environ["TORCHINDUCTOR_CACHE_DIR"], "hits": hits} | {
        "gradients": max(differences)
    }


def main(group, *names):
    """Compare and print."""
    groups = {"cache": cache, "failing": failing, "run": run, "ranks": ranks}
    if group in groups:
        print(json.dumps(groups[group](*names)))
        return
    rows = {}
    for name in names or LOSSES:
        rows[name] = of_loss(name)
        print(name, rows[name], file=sys.stderr, flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
