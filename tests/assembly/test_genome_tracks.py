"""A folder of tracks: each base given its surroundings, for a genome or a part of it."""

from dataclasses import replace

import numpy as np
import pytest

from dnamdlm.assembly.api import Model
from dnamdlm.assembly.strands import with_strands
from dnamdlm.assembly.tracks import genome_tracks, locus
from dnamdlm.errors import ConfigError, DataError
from tests.assembly.test_scoring import SEQUENCE, random_model
from tests.helpers.big_files import BigFile
from tests.helpers.entries import composed, settings_of, tracks

LETTERS = "ACGT"
WITH_N = SEQUENCE[:70] + "NN" + SEQUENCE[72:]
SHORT = "ACGTTGCATTAGCCA"
GTF = (
    'b\tx\tgene\t2\t9\t.\t-\t.\tgene_id "G1"; gene_name "ABC1";\n'
    'b\tx\tCDS\t3\t5\t.\t-\t0\tgene_id "G1";\n'
    "a\tx\tgene\t20\t290\t.\t+\t.\tgene_id \"G2\"; gene_biotype \"x\";\n"
)  # fmt: skip


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A genome of two records, and a model with random weights in place of one from disk."""
    loaded = random_model("data.length=64")
    monkeypatch.setattr(genome_tracks, "load_model", lambda *_args, **_options: loaded)
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.fa").write_text(f">b\n{SHORT}\n>a\n{WITH_N}\n")
    (tmp_path / "g.gtf").write_text(GTF)
    return tmp_path


def make(*given, name="made"):
    out, said = tracks(
        composed("tracks", "model=x", "data.fasta=g.fa", f"out={name}", "batch_size=3", *given)
    )
    return out, said


def values_of(folder, name):
    """All values of a track by record, nan where there is none."""
    found = [np.full(size, np.nan) for size in (len(SHORT), len(WITH_N))]
    for record, start, row in BigFile(folder / f"{name}.bw").runs():
        found[record][start : start + len(row)] = row
    return found


def conditionals(sequence, strands="both"):
    """log p of each base with it alone hidden, (n, 4), by another path through the package."""
    loaded = random_model("data.length=64")
    loaded = replace(loaded, lm=with_strands(loaded.language_model, strands))
    return Model(loaded).log_probs([sequence])[0]


def close(found, expected):
    # float32 is written, of numbers that are computed in float64.
    np.testing.assert_allclose(found, expected, rtol=2e-7, atol=2e-7)


def test_a_record_within_a_window_has_the_conditionals_of_its_bases(files):
    folder, said = make("stride=64")
    assert said.startswith("10 tracks of 313 bases")
    expected = conditionals(SHORT)
    for number, letter in enumerate(LETTERS):
        close(values_of(folder, f"logp_{letter}")[0], expected[:, number])


def test_a_base_is_read_in_the_window_in_which_it_has_most_context(files):
    folder, _ = make("stride=64", "strands=one")
    found = np.stack([values_of(folder, f"logp_{x}")[1] for x in LETTERS], axis=1)
    # windows of 64 that overlap by half and cover 300 bases.
    starts = [round(i * (300 - 64) / 8) for i in range(9)]
    for start in (starts[0], starts[2]):
        expected = conditionals(WITH_N[start : start + 64], "one")
        for place in range(start, start + 64):
            nearest = min(starts, key=lambda x: abs(x + 32 - place - 0.5))
            inner = abs(start + 32 - place - 0.5) < 14
            if nearest == start and inner and WITH_N[place] != "N":
                close(found[place], expected[place - start])


def test_what_is_not_a_base_is_left_out(files):
    folder, _ = make()
    for name in ("logp_A", "logo_T", "entropy", "bits"):
        short, long = values_of(folder, name)
        assert np.flatnonzero(np.isnan(long)).tolist() == [70, 71]
        assert not np.isnan(short).any()


def test_intervals_are_joined_and_read_in_the_order_of_the_genome(files):
    (files / "i.bed").write_text("a\t100\t150\nb\t2\t9\na\t120\t180\t.\t.\t-\n")
    folder, said = make("bed=i.bed")
    short, long = values_of(folder, "bits")
    assert said.startswith("10 tracks of 87 bases")
    assert np.flatnonzero(~np.isnan(short)).tolist() == list(range(2, 9))
    assert np.flatnonzero(~np.isnan(long)).tolist() == list(range(100, 180))


def test_a_circular_record_has_context_on_both_sides(files):
    folder, _ = make("data.circular=[a]", "stride=64", "strands=one")
    found = np.stack([values_of(folder, f"logp_{x}")[1] for x in LETTERS], axis=1)
    around = conditionals((WITH_N[-16:] + WITH_N)[:64], "one")
    close(found[:4], around[16:20])


def test_genes_have_the_names_of_a_gtf_file(files):
    folder, said = make("data.annotation=g.gtf")
    assert "2 genes" in said
    assert list(BigFile(folder / "genes.bb").rows()) == [
        (0, 1, 9, "ABC1\t0\t-"), (1, 19, 290, "G2\t0\t+"),
    ]  # fmt: skip
    assert "bigDataUrl genes.bb" in (folder / "hub.txt").read_text()


def test_the_hub_names_every_file_and_no_other(files):
    folder, _ = make("assembly=sacCer3")
    lines = (folder / "hub.txt").read_text().splitlines()
    assert "genome sacCer3" in lines
    named = {line.split()[1] for line in lines if line.startswith("bigDataUrl")}
    assert named == {path.name for path in folder.glob("*.bw")}
    assert sorted({*named, "hub.txt", "browser.html", "tracks.json"}) == sorted(
        path.name for path in folder.iterdir()
    )


def test_what_a_killed_join_left_is_removed(files):
    left = files / ".partial-made-999999999"
    left.mkdir()
    (left / "bits.bw").write_bytes(b"half")
    make()
    assert not left.exists()


def test_a_folder_that_was_joined_before_a_kill_loses_its_parts(files, monkeypatch):
    monkeypatch.setattr("dnamdlm.assembly.runner.part_runner.remove_folder", lambda folder: None)
    folder, _ = make()
    monkeypatch.undo()
    monkeypatch.chdir(files)
    for left in ("all parts", "no manifest any more"):
        assert (files / "made.parts").is_dir(), left
        _, said = make()
        assert said == "all parts had been joined already"
        assert not (files / "made.parts").exists()
        (files / "made.parts").mkdir(exist_ok=True)
    assert (folder / "bits.bw").is_file()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("locus=a:0-50", "bed=i.bed"), "both say where; give one of them"),
        (("out=x.bw",), "holds one locus, which is not given"),
        (("locus=a:50-40",), "has -10 bases"),
        (("locus=c:0-40",), "c"),
        (("locus=a:290-310",), "300"),
        (("shard=5/4",), "shards are numbered from 1/4 to 4/4"),
        (("assembly='a b'",), "assembly"),
        (("stride=0",), "stride"),
    ],
    ids=str,
)
def test_mistakes_are_one_sentence(files, given, message):
    (files / "i.bed").write_text("a\t0\t5\n")
    with pytest.raises((ConfigError, DataError), match=message):
        make(*given)
    assert not (files / "made").exists()
    assert not (files / "made.parts").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("out=x.bw", "locus=a:0-50", "shard=1/2"), "shard .*only a folder has it"),
        (("out=x", "max_order=3"), "max_order .*not compared with a Markov model"),
        (("out=x", "data.valid=[a]"), r"data\.valid .*not compared with a Markov model"),
    ],
    ids=str,
)
def test_a_setting_without_effect_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        settings_of("tracks", "model=x", *given)


def test_the_method_of_a_model_writes_what_the_command_writes(files):
    folder, _ = make("locus=a:10-80", "data.annotation=g.gtf")
    model = Model(random_model("data.length=64"))
    same = model.tracks("same", locus="a:10-80", fasta="g.fa", annotation="g.gtf", batch_size=3)
    for path in folder.glob("*.b*"):
        assert path.read_bytes() == (same / path.name).read_bytes()
    with pytest.raises(ConfigError, match="give a name without an ending"):
        model.tracks("x.bw", locus="a:10-80")


def test_a_folder_that_exists_is_refused(files):
    (files / "made").mkdir()
    with pytest.raises(ConfigError, match="out=made exists; choose a folder that does not"):
        make()


def test_a_model_of_another_kind_is_refused(files, monkeypatch):
    causal = random_model("lm=ar", "backbone=ar")
    monkeypatch.setattr(genome_tracks, "load_model", lambda *_args, **_options: causal)
    with pytest.raises(ConfigError, match="does not see both sides of a base"):
        make()


def test_one_file_has_the_bits_of_the_folder(files, monkeypatch):
    """Both modes of the command hide every sixteenth base of the same windows."""
    loaded = random_model("data.length=64")
    monkeypatch.setattr(locus, "load_model", lambda *_args, **_options: loaded)
    whole, _ = make("locus=a:100-260")
    tracks(composed(
        "tracks", "model=x", "data.fasta=g.fa", "out=x.bw", "locus=a:100-260", "strands=both",
        "batch_size=3",
    ))  # fmt: skip
    one, two = (list(BigFile(x).runs()) for x in (whole / "bits.bw", files / "x.bw"))
    assert [run[:2] for run in one] == [run[:2] for run in two]
    # the folder keeps log-probabilities as float32, which the file does not.
    np.testing.assert_allclose(one[0][2], two[0][2], rtol=2e-7)
