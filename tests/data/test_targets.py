"""A target never harms: not an input by any name, not a file of a run or of prepared data."""

import json
import os
import socket
from pathlib import Path

import pytest

from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.data.targets import check_run_folder, check_target, inputs_of
from dnamdlm.errors import ConfigError, DataError, DnamdlmError
from dnamdlm.lm.checkpoint import json_writer, write_folder


@pytest.fixture
def folder(tmp_path):
    """Inputs, a run with a checkpoint, and a folder as published models have it."""
    (tmp_path / "g.fa").write_text(">a\nACGT\n")
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "evaluation").mkdir()
    (run / "report_data").mkdir()
    for name in ("config.yaml", "run.json", "metrics.csv", "samples.fa", "evaluation/test.json"):
        (run / name).write_text("{}")
    write_folder(run / "checkpoints" / "step_000000020", {"model.json": json_writer({})})
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "model.safetensors").write_text("weights")
    return tmp_path


@pytest.fixture
def in_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def test_a_new_file_and_an_old_one_of_ours_are_accepted(in_folder):
    (in_folder / "out.fa").write_text("old")
    for name in ("new.fa", "out.fa", "run/new.fa", "run/samples.fa", "-", "/dev/null"):
        assert check_target(name, inputs=["g.fa", "run", "none", None, ""]) == ""


@pytest.mark.parametrize("way", ["itself", "link", "hard link", "link to the folder", "dots"])
def test_an_input_is_refused_by_any_name(in_folder, way):
    name = "g.fa" if way == "itself" else "other.fa"
    if way == "link":
        (in_folder / "other.fa").symlink_to("g.fa")
    elif way == "hard link":
        os.link("g.fa", "other.fa")
    elif way == "link to the folder":
        (in_folder / "folder").symlink_to(".")
        name = "folder/g.fa"
    elif way == "dots":
        name = "run/../g.fa"
    with pytest.raises(ConfigError, match="is an input of the command; choose another out=FILE"):
        check_target(name, inputs=["v.vcf", "g.fa"])
    # and an input that is a link to the target, which would change with it.
    with pytest.raises(ConfigError, match="is an input"):
        check_target("g.fa", inputs=[name])


def test_the_files_of_a_folder_that_is_read_are_refused(in_folder):
    inputs = inputs_of({"model": "published", "out": "x"})
    with pytest.raises(ConfigError, match="lies in the input published"):
        check_target("published/model.safetensors", inputs=inputs)
    os.link("published/model.safetensors", "w.safetensors")
    with pytest.raises(ConfigError, match="lies in the input"):
        check_target("w.safetensors", inputs=inputs)
    check_target("published/new.fa", inputs=inputs)


@pytest.mark.parametrize("name", [
    "run/config.yaml", "run/run.json", "run/metrics.csv", "run/results.json", "run/report.html",
    "run/checkpoints/x.fa", "run/splits/x.fa", "run/report_data/x.csv", "run/evaluation/test.json",
])  # fmt: skip
def test_files_of_a_run_are_refused_whether_they_are_there_or_not(in_folder, name):
    with pytest.raises(ConfigError, match=r"belongs to the run in .*run; choose another"):
        check_target(name)
    (in_folder / "link").symlink_to(name)
    with pytest.raises(ConfigError, match="belongs to the run"):
        check_target("link")


def test_a_command_may_write_where_it_is_allowed_to(in_folder):
    check_target("run/evaluation/test.json", within=("evaluation",))
    with pytest.raises(ConfigError, match="belongs to the run"):
        check_target("run/checkpoints/x.json", within=("evaluation",))


def test_names_of_a_run_are_free_elsewhere(in_folder):
    (in_folder / "checkpoints").mkdir()
    for name in ("results.tsv", "report.html", "checkpoints/x.fa"):
        check_target(name)


@pytest.mark.parametrize("name", ["model.json", "manifest.json", "new.fa", "deeper/new.fa"])
def test_nothing_is_written_into_a_checkpoint(in_folder, name):
    checkpoint = in_folder / "run" / "checkpoints" / "step_000000020"
    (checkpoint / "deeper").mkdir()
    with pytest.raises(ConfigError, match="holds a checkpoint or prepared data and nothing else"):
        check_target(checkpoint / name)
    moved = checkpoint.rename(in_folder / "moved")
    with pytest.raises(ConfigError, match="nothing else"):
        check_target(moved / name)


def test_nothing_is_written_into_prepared_data(in_folder):
    store = prepare_genome("g.fa", cache_dir="cache")
    with pytest.raises(ConfigError, match="nothing else"):
        check_target(store.folder / "codes.bin")
    (in_folder / "corpus").mkdir()
    (in_folder / "corpus" / "manifest.json").write_text(json.dumps({"format": "dnamdlm.corpus"}))
    with pytest.raises(ConfigError, match="nothing else"):
        check_target("corpus/train_00000.bin")
    # the list of what was downloaded says nothing of the other files beside it.
    (in_folder / "downloads").mkdir()
    (in_folder / "downloads" / "manifest.json").write_text(json.dumps({"hg38.fa.gz": {}}))
    check_target("downloads/x.fa")


def test_folders_and_missing_folders_are_one_sentence(in_folder):
    with pytest.raises(DataError, match="out=run is a folder; give a file name"):
        check_target("run")
    with pytest.raises(DataError, match=r"out=none/x\.fa lies in a folder that does not exist"):
        check_target("none/x.fa")
    with pytest.raises(DataError, match="folder that does not exist"):
        check_target("g.fa/x.fa")
    (in_folder / "broken").symlink_to("none/x.fa")
    with pytest.raises(DataError, match="folder that does not exist"):
        check_target("broken")
    check_target("none/deeper/x.json", makes_folders=True)
    with pytest.raises(DataError, match="folder that does not exist"):
        check_target("g.fa/deeper/x.json", makes_folders=True)


def test_links_in_a_circle_and_sockets_are_one_sentence(in_folder):
    (in_folder / "a").symlink_to("b")
    (in_folder / "b").symlink_to("a")
    with pytest.raises(DataError, match=r"out=a cannot be used \(Too many levels"):
        check_target("a")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket")
        with pytest.raises(DataError, match="is a socket, which is not written"):
            check_target("socket")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_what_is_write_protected_is_refused(in_folder):
    (in_folder / "old.fa").write_text("")
    (in_folder / "old.fa").chmod(0o444)
    with pytest.raises(DataError, match="is write-protected"):
        check_target("old.fa")
    (in_folder / "run").chmod(0o555)
    with pytest.raises(DataError, match="where you may not write"):
        check_target("run/x.fa")


def test_the_ending_says_the_format(in_folder):
    endings = (".tsv.gz", ".tsv", ".parquet")
    assert check_target("x.tsv.gz", endings=endings) == ".tsv.gz"
    assert check_target("x.tsv", endings=endings) == ".tsv"
    with pytest.raises(ConfigError, match=r"out=x.csv must end in .tsv.gz, .tsv or .parquet"):
        check_target("x.csv", endings=endings)
    # a pipe has no say in the name that it gets.
    os.mkfifo("pipe")
    for name in ("-", "pipe", "/dev/null"):
        assert check_target(name, endings=endings) == ".tsv.gz"


@pytest.mark.parametrize("ending", [".bz2", ".xz", ".zst", ".zip", ".bgz"])
def test_a_compression_that_is_not_written_is_refused(in_folder, ending):
    with pytest.raises(ConfigError, match=r"end the name in \.gz, or leave"):
        check_target(f"x.fa{ending}", compressed=(".gz",))
    check_target("x.fa.gz", compressed=(".gz",))
    with pytest.raises(ConfigError, match=r"is not written here; leave \.gz out"):
        check_target("x.tsv.gz")


def test_the_setting_is_named_as_the_user_wrote_it(in_folder):
    with pytest.raises(DataError, match="track=run is a folder"):
        check_target("run", setting="track")


def test_a_run_folder_does_not_write_over_an_input(in_folder):
    (in_folder / "run" / "results.tsv").write_text("sequence\tlabel\n")
    inputs = inputs_of({"data": {"train": "run/results.tsv"}, "run_dir": "run"})
    with pytest.raises(
        ConfigError, match=r"run_dir=run would write over the input run/results\.tsv"
    ):
        check_run_folder(Path("run"), inputs)
    os.link("run/results.tsv", "mine.tsv")
    with pytest.raises(ConfigError, match=r"would write over the input mine\.tsv"):
        check_run_folder(in_folder / "run", ["mine.tsv"])
    check_run_folder(in_folder / "run", ["g.fa", "run/samples.fa", "run"])
    check_run_folder(in_folder / "new", ["g.fa"])


def test_inputs_are_found_in_any_tree_of_settings(in_folder):
    (in_folder / "test").mkdir()
    tree = {
        "model": "run", "out": "x", "run_dir": "run", "split": "test", "draws": 3, "none": None,
        "data": {"fasta": "g.fa", "cache_dir": "cache", "genomes": {"a": {"fasta": "h.fa"}}},
        "files": ["a", ("b", "c")],
    }  # fmt: skip
    assert inputs_of(tree) == ["run", "g.fa", "h.fa", "a", "b", "c"]


@pytest.mark.parametrize("text", ["x" * 5000, "a\0b", "~nobody-of-that-name/x", "[MASK*8]"])
def test_a_text_that_is_not_a_path_is_not_an_input(in_folder, text):
    (in_folder / "out.fa").write_text("")
    assert check_target("out.fa", inputs=[text]) == ""


def test_every_refusal_is_one_line(in_folder):
    os.mkfifo("pipe")
    for name in ("run", "none/x", "g.fa", "run/run.json", "x.zip"):
        with pytest.raises(DnamdlmError) as refused:
            check_target(name, inputs=["g.fa"])
        assert "\n" not in str(refused.value)
