"""Commands that read a model: a class of another package is used only if the user trusts it."""

import importlib
import sys

import numpy as np
import pytest
import torch

import dnamdlm
from dnamdlm.errors import ConfigError
from tests.helpers import entries
from tests.helpers.foreign_package import NAME, write_package

LETTERS = np.random.default_rng(0).choice(list("ACGT"), (12, 400))
TRAINING = {
    "device": "cpu", "threads": 1, "length": 32, "valid": ["r2"], "global_batch_size": 4,
    "warmup_steps": 0, "valid_every": 2, "valid_windows": 4, "valid_draws": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with inputs of all commands, and the run of a network of an installed package."""
    place = tmp_path_factory.mktemp("trusted")
    write_package(place / "site")
    (place / "my.fa").write_text(
        "".join(f">r{i}\n{''.join(row)}\n" for i, row in enumerate(LETTERS[:3], start=1))
    )
    (place / "my.vcf").write_text(
        "##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        f"r1\t100\t.\t{LETTERS[0, 99]}\t{'C' if LETTERS[0, 99] != 'C' else 'G'}\t.\t.\t.\n"
    )
    rows = [f"{''.join(row[:30])},{i % 2}" for i, row in enumerate(LETTERS)]
    for name in ("train", "test"):
        (place / f"{name}.csv").write_text("\n".join(["sequence,label", *rows, ""]))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place / "site"))
        torch.manual_seed(0)
        net = importlib.import_module(f"{NAME}.nets").Plain()
        dnamdlm.fit(net, place / "my.fa", run_dir=place / "run", max_steps=2, **TRAINING)
        head = [*settings_of(place, "finetune"), f"run_dir={place}/heads", f"trust=[{NAME}]"]
        entries.finetune(entries.composed("finetune", *head))
        yield place


def settings_of(place, name):
    model, fasta, device = f"model={place}/run", f"data.fasta={place}/my.fa", "device=cpu"
    tables = ["config=table", f"data.train={place}/train.csv", f"data.test={place}/test.csv"]
    return {
        "embed": [model, device, fasta, f"out={place}/e.npz"],
        "evaluate": [model, device, "split=valid", "draws=1", f"out={place}/e.json"],
        "finetune": [
            *tables, model, device, f"run_dir={place}/tuned", "training.epochs=1", "seeds=1",
            "baselines=[]",
        ],
        "predict": [
            f"model={place}/heads", device, f"input={place}/my.fa", f"out={place}/p.tsv", "seed=1"
        ],
        "sample": [model, device, "num_sequences=2", "length=20", f"out={place}/s.fa"],
        "score": [
            model, device, fasta, f"variants={place}/my.vcf", "draws=1", f"out={place}/s.tsv"
        ],
        "tracks": [model, device, "locus=r2:10-20", f"out={place}/t.tsv"],
    }[name]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["embed", "evaluate", "finetune", "predict", "sample", "score", "tracks"]
)
def test_a_command_reads_a_model_of_a_package_that_is_trusted_and_of_no_other(place, name):
    run, overrides = getattr(entries, name), settings_of(place, name)
    for module in [module for module in sys.modules if module.partition(".")[0] == NAME]:
        del sys.modules[module]
    with pytest.raises(ConfigError, match=rf"trust=\[{NAME}\]"):
        run(entries.composed(name, *overrides, "trust=[os]"))
    assert NAME not in sys.modules
    run(entries.composed(name, *overrides, f"trust=[{NAME}]"))
    assert NAME in sys.modules
