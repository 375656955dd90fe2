"""Every recipe runs dry on small genomes; the recipes of papers have the papers' numbers."""

import numpy as np
import pytest

from data_prep.species import known_species
from tests.assembly.test_configs import RECIPES, compose
from tests.helpers.entries import train

SMALL = [
    "data.length=64",
    "backbone.hidden_size=8",
    "backbone.num_blocks=1",
    "trainer.accelerator=cpu",
    "dry_run=true",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten small genomes of three records, and one whose chromosomes are named as in hg38."""
    folder = tmp_path_factory.mktemp("genomes")
    rng = np.random.default_rng(0)

    def write(name, records):
        lines = [f">{record}\n{''.join(rng.choice(list('ACGT'), 900))}\n" for record in records]
        (folder / f"{name}.fa").write_text("".join(lines))

    for species in known_species():
        write(species, ["a", "b", "c"])
    write("hg38", [f"chr{i}" for i in range(1, 23)])
    rows = [f"{''.join(rng.choice(list('ACGT'), 60))},{number}\n" for number in range(200)]
    (folder / "measured.csv").write_text("sequence,activity\n" + "".join(rows))
    (folder / "hg38.bed").write_text("chr1\t0\t900\ttrain\nchr2\t0\t900\tvalid\n")
    return folder


def overrides(recipe, folder):
    """What makes a recipe run on the small genomes."""
    if recipe.startswith("species10"):
        return [
            f"{plus}data.genomes.{name}.{setting}"
            for name in known_species()
            for plus, setting in (
                ("", f"fasta={folder / name}.fa"),
                ("", "bed=null"),
                ("+", "test_fraction=0.3"),
            )
        ]
    if recipe in ("demo", "tiny"):
        return []
    if recipe in ("measured", "noisy_regression"):
        return [f"data.table={folder / 'measured.csv'}", "data.numbers=activity"]
    bed = [] if recipe in ("genome", "hg38_cpu", "quick") else [f"data.bed={folder / 'hg38.bed'}"]
    return [f"data.fasta={folder / 'hg38.fa'}", *bed]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_runs_dry_on_a_small_genome(recipe, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(folder / "cache"))
    changes = [*SMALL, *overrides(recipe, folder), f"run_dir={tmp_path / 'run'}"]
    tree = compose(f"config={recipe}", *changes)
    train(tree)
    assert not (tmp_path / "run" / "config.yaml").exists()


def bases_per_step(tree):
    return tree["data"]["length"] * tree["trainer"]["global_batch_size"]


def test_the_recipe_of_the_paper_is_masked_modelling_then_diffusion():
    first, second = compose("config=hg38_pretraining"), compose("config=hg38")
    assert bases_per_step(first) == bases_per_step(second) == 2**20
    assert [tree["trainer"]["max_steps"] for tree in (first, second)] == [10_000, 50_000]
    assert [tree["optimizer"]["learning_rate"] for tree in (first, second)] == [0.008, 0.001]
    assert "objective" in first["lm"]
    assert "objective" not in second["lm"]
    assert second["trainer"]["global_batch_size"] % second["trainer"]["micro_batch_size"] == 0


def test_the_recipe_of_the_guidance_paper_has_its_species_and_numbers():
    tree = compose("config=species10")
    assert sorted(tree["data"]["genomes"]) == sorted(known_species())
    assert tree["backbone"]["num_classes"] == 10
    assert bases_per_step(tree) == 2**20
    assert tree["optimizer"]["learning_rate"] * tree["learning_rate"]["final_factor"] == 2e-6
    assert (tree["trainer"]["max_steps"], tree["learning_rate"]["warmup_steps"]) == (30_000, 3_000)
    assert tree["lm"]["label_dropout"] == 0.1


@pytest.mark.parametrize("name", ["hg38", "species10"])
@pytest.mark.parametrize("size", ["small_gpu", "cpu"])
def test_the_small_recipes_keep_the_kind_of_network(name, size):
    fasta = ["data.fasta=x.fa"] if name == "hg38" else []
    small, full = compose(f"config={name}_{size}", *fasta), compose(f"config={name}")
    sizes = {"hidden_size", "num_blocks", "gradient_checkpointing"}
    assert small["backbone"].keys() == full["backbone"].keys()
    for key in full["backbone"].keys() - sizes:
        assert small["backbone"][key] == full["backbone"][key], key
    for group in ("lm", "noise", "times"):
        assert small[group] == full[group]
    assert bases_per_step(small) < bases_per_step(full)
