"""What runs on the pretended GPU: `python -m tests.helpers.gpu_scenarios GROUP FOLDER` prints JSON.

One row per scenario: its numbers of waits and launches, or `error` with the end of the traceback.
A process of its own, since the pretended GPU must be loaded before torch.
"""

from tests.helpers.pretended_gpu import GPU, PretendedGpu, to_gpu  # isort: skip  before torch

import json
import logging
import sys
import traceback
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.worker_process import Caught
from dnamdlm.diffusion import Constraints, RowNoise, Stream, row_keys
from dnamdlm.diffusion.randomness import make_uniforms_by
from dnamdlm.lm.sampling.generation import Template, generate_pieces
from dnamdlm.ops import selection
from dnamdlm.ops.selection import describe
from dnamdlm.ops.selfcheck import fused_kernels
from dnamdlm.tokens.iupac import ANY_BASE
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.training.module import TrainingModule
from dnamdlm.training.optimizers import AdamWSettings, WarmupConstant
from tests.helpers import entries
from tests.helpers.fused_stand_ins import BROKEN, PACKAGES, install
from tests.helpers.tiny_models import LENGTH, MODELS, ROWS, batch, model

# its programs need a real card.
sys.modules["triton"] = None

STEPS = 4
# the sets of two bases that are given.
GIVEN = (1, 2)

FUSED = ("dit, padded", "caduceus_ph", "caduceus_ph, padded", "caduceus_ps", "dimamba")
SAMPLERS = {
    name: (name.partition(",")[0], model)
    for name, model in {
        "ancestral": "dit", "analytic": "dit", "confidence": "dit", "entropy_bounded": "dit",
        "first_hitting": "dit", "remask": "dit", "block": "dit", "semi_ar": "dit",
        "ancestral, time": "dimamba", "ancestral, blocks": "block", "left_to_right": "ar",
        "ancestral, uniform": "uniform", "renoise, hybrid": "hybrid",
        "ancestral, iupac": "iupac", "remask, iupac": "iupac",
    }.items()
}  # fmt: skip


def training_step(gpu, name):
    """One micro-batch in bfloat16, and the update."""
    module = TrainingModule(
        model(*MODELS[name]), AdamWSettings(), WarmupConstant(1), max_steps=2, averaging_decay=0.9
    )
    on_cpu = batch(padded="padded" in name, labelled=name in {"classifier", "dit, everything"})
    to_gpu(module)
    module.average.to(torch.device("cuda"))
    optimizer = module.settings.build(module)
    gpu.reset()
    module.begin_step()
    with torch.autocast("cuda", torch.bfloat16):
        loss = module.training_step(on_cpu.to("cuda", non_blocking=True), 0)
    loss.backward()
    found = gpu.counts()
    norm = torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()
    module.update_average()
    waits = gpu.waits.copy()
    return found | {
        "waits": waits.total(),
        "where": sorted(f"{reason} at {line}" for reason, line in waits),
        "loss": loss.item(),
        "norm": norm.item(),
    }


def sampling(gpu, name):
    """A few sequences: counts per call of the network, which is one step.

    What happens once for each piece of a sequence is not a matter of steps. In float64 no rounding
    decides, so that the CPU must draw the same tokens.
    """
    sampler, of_model = SAMPLERS[name]
    sampler = entries.settings_of("sample", "model=none", "out=none", f"sampler={sampler}").sampler
    if hasattr(sampler, "num_steps"):
        sampler = replace(sampler, num_steps=STEPS)
    lm = model(*MODELS[of_model]).double().eval()
    # with masks alone all positions would be equally certain, and rounding would choose.
    sets = np.full(LENGTH, ANY_BASE, dtype=np.uint8)
    # noise that replaces tokens may change all of them.
    if of_model not in ("uniform", "hybrid"):
        sets[:2] = GIVEN
    template = Template.of_sets(sets, NUCLEOTIDE_VOCABULARY)

    def made(keys):
        return list(generate_pieces(lm, keys, template, sampler=sampler, trained_length=LENGTH))

    on_cpu = torch.cat([piece.tokens for piece in made(row_keys(1, torch.arange(ROWS)))], 1)
    to_gpu(lm)
    keys = row_keys(1, torch.arange(ROWS, device="cuda"))
    gpu.reset()
    pieces = made(keys)
    calls = sum(piece.network_calls for piece in pieces)
    return {
        "waits": round(sum(n for n in gpu.waits.values() if n > len(pieces)) / calls, 2),
        "launches": round(gpu.counts()["launches"] / calls, 1),
        "where": sorted(f"{reason} at {line}" for reason, line in gpu.waits),
        "same": torch.equal(torch.cat([piece.tokens for piece in pieces], 1).cpu(), on_cpu),
    }


def rows_of_padded_batch(gpu):
    """Some rows of a batch with padding, as they are read apart."""
    on_gpu = batch(padded=True, labelled=False).to("cuda")
    rows = torch.arange(2, device="cuda")
    gpu.reset()
    part = on_gpu.rows(rows)
    return gpu.counts() | {"is_padded": part.attended is not None}


def parts_of_constraints(gpu):
    """Constraints of some rows and positions, of those that were checked."""
    allowed = Constraints(torch.ones(ROWS, LENGTH, 12, dtype=torch.bool)).to(GPU)
    rows = torch.arange(2, device="cuda")
    gpu.reset()
    allowed.select(rows).within(2, 4).at(1)
    return gpu.counts()


def uniforms_by_a_kernel(gpu):
    """Numbers of a step where one kernel makes them."""
    keys = row_keys(1, torch.arange(ROWS))
    expected = RowNoise(keys).uniform(Stream.MASKS, 0, LENGTH, 2)

    def kernel(keys, stream, draw, count):
        with gpu.as_one_kernel("Philox"):
            on_cpu = RowNoise(keys.cpu()).uniform(stream, draw, count)
            return on_cpu.to("cuda", non_blocking=True)

    on_gpu = RowNoise(keys.to("cuda"))
    make_uniforms_by(kernel)
    gpu.reset()
    made = on_gpu.uniform(Stream.MASKS, 0, LENGTH, 2)
    counts = gpu.counts()
    make_uniforms_by(None)
    return counts | {"same": torch.equal(made.cpu(), expected)}


def fused(gpu, name):
    """The same step with the stand-ins of the fused packages, and without them."""
    with selection.forced("portable"):
        plain = training_step(gpu, name)
    calls = install(gpu)
    with fresh_imports():
        found = training_step(gpu, name)
    return found | {"calls": calls, "plain": plain}


def checked(gpu, name):
    """What the check at the start of a command says of sound or broken packages."""
    install(gpu, None if name == "sound" else name)
    with fresh_imports():
        refused = start_ops("auto", "cuda")
        kernels = [x for x in fused_kernels(GPU) if x.package in PACKAGES]
        rows = describe(kernels, GPU, torch.bfloat16)
        step = training_step(gpu, "caduceus_ph, padded")
    return {"refused": refused, "rows": rows, "loss": step["loss"]}


@contextmanager
def fresh_imports():
    """Nothing is known of the packages, as in a new process."""
    known = [getattr(selection, name).copy() for name in ("_broken", "_distrusted")]
    selection._broken.clear()
    selection._distrusted.clear()
    yield
    for name, before in zip(("_broken", "_distrusted"), known, strict=True):
        getattr(selection, name).clear()
        getattr(selection, name).update(before)


def command(gpu, line):
    """A command on the card; it must end well."""
    gpu.reset()
    name, *overrides = line.split()
    getattr(entries, name)(entries.composed(name, *overrides, "device=cuda"))
    return gpu.counts()


def with_broken_packages(gpu, name, lines):
    """Commands on the card with packages that are broken; what each of them says of these."""
    install(gpu, name)
    said = {}
    for line in lines:
        with fresh_imports(), warnings_of("dnamdlm.ops") as texts:
            command(gpu, line)
        said[line.split()[0]] = texts
    return said


@contextmanager
def warnings_of(name):
    """The warnings of a logger."""
    texts = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: texts.append(record.getMessage())
    logging.getLogger(name).addHandler(handler)
    yield texts
    logging.getLogger(name).removeHandler(handler)


COMMANDS = (
    "evaluate model=yeast-demo split=test limit=4 draws=1 max_order=1 out={folder}/e.json",
    "sample model=yeast-demo num_sequences=2 length=32 sampler.num_steps=4 out={folder}/s.fa",
    "judge samples={folder}/s.fa reference={folder}/g.fa model=yeast-demo out={folder}/j.json",
    "design model=yeast-demo reward=[{{motif:TATA}}] num_sequences=2 length=24 "
    "sampler.num_steps=4 likelihood_draws=0 out={folder}/d.fa",
    "tracks model=yeast-demo locus=chrI:1000-1100 out={folder}/t.tsv",
    "interpret model=yeast-demo locus=chrI:1000-1008 parts=[mutagenesis] out={folder}/i",
    "score model=yeast-demo variants={folder}/v.vcf data.fasta={folder}/g.fa draws=1 "
    "out={folder}/v.tsv",
    "embed model=yeast-demo data.fasta={folder}/s.fa out={folder}/e.npz",
    "finetune config=table data.train={folder}/t.csv model=yeast-demo run_dir={folder}/ft "
    "baselines=[] seeds=1 training.epochs=1 bootstrap=0 method=probe",
    "predict model={folder}/ft input={folder}/t.csv out={folder}/p.tsv",
)


PARTS = {
    "rows of a padded batch": rows_of_padded_batch,
    "constraints": parts_of_constraints,
    "uniforms": uniforms_by_a_kernel,
}
NAMED = {
    "training": (training_step, MODELS),
    "sampling": (sampling, SAMPLERS),
    "fused": (fused, FUSED),
    "broken": (checked, ("sound", *BROKEN)),
}


def scenarios(group, folder):
    """Name and function of each scenario of a group."""
    if group == "parts":
        return PARTS
    if group in NAMED:
        function, names = NAMED[group]
        return {name: partial(function, name=name) for name in names}
    if group == "broken commands":
        return {
            name: partial(
                with_broken_packages,
                name=name,
                lines=[
                    line.format(folder=f"{folder}/{name}")
                    for line in COMMANDS
                    if line.split()[0] in ("evaluate", "sample", "score", "embed", "finetune")
                ],
            )
            for name in BROKEN
        }
    lines = [line.format(folder=folder) for line in COMMANDS]
    return {line.split()[0]: partial(command, line=line) for line in lines}


def main(group, folder):
    """Run a group and print its rows."""
    rows = {}
    with PretendedGpu() as gpu:
        for name, run in scenarios(group, folder).items():
            # every other scenario still runs.
            with Caught() as caught:
                rows[name] = run(gpu)
            if caught.error is not None:
                lines = "".join(traceback.format_exception(caught.error)).splitlines(True)
                rows[name] = {"error": "".join(lines[-12:])}
    print(json.dumps(rows))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
