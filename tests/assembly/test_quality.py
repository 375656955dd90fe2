"""Tests of samples and loci as commands: files that are written, mistakes."""

import json

import numpy as np
import pytest

from dnamdlm.assembly.judge import judging
from dnamdlm.assembly.judge.judging import judge
from dnamdlm.assembly.model_data import genome_data
from dnamdlm.assembly.tracks import locus
from dnamdlm.assembly.tracks.locus import parse_locus, tracks
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.evaluation.samples.quality_lines import quality_text
from tests.assembly.test_scoring import random_model
from tests.helpers.entries import settings_of

BASES = "".join(np.random.default_rng(3).choice(list("ACGT"), 4000))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Sequences, a genome, and a model with random weights in place of one from disk."""
    monkeypatch.setenv("DNAMDLM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real.fa").write_text(f">a\n{BASES}\n")
    (tmp_path / "genome.fa").write_text(
        "".join(f">c{i}\n{BASES[1000 * i : 1000 * i + 1000]}\n" for i in range(4))
    )
    rng = np.random.default_rng(4)
    made = ["".join(rng.choice(list("ACGT"), 60)) for _ in range(4)]
    (tmp_path / "s.fa").write_text("".join(f">s{i}\n{text}\n" for i, text in enumerate(made)))
    loaded = random_model("data.length=64")
    for module in (judging, locus):
        monkeypatch.setattr(module, "load_model", lambda *_args, **_options: loaded)
    return tmp_path


def run(*overrides):
    """`tracks` where a locus is given, else `judge`."""
    if any(item.startswith("locus=") for item in overrides):
        return tracks(settings_of("tracks", *overrides))
    return judge(settings_of("judge", *overrides))


LOCUS = (
    "model=x", "data.fasta=genome.fa", "data.train=[c0,c1]", "data.valid=[c2]", "data.test=[c3]",
)  # fmt: skip


def test_samples_are_compared_with_a_file_without_a_model(folder):
    out, text = run("samples=s.fa", "reference=real.fa")
    assert out.resolve() == folder / "s.evaluation.json"
    content = json.loads(out.read_text())
    section = content["quality"]
    assert content["split"] == "reference"
    assert (section["num_sequences"], section["reference"]) == (4, "real.fa")
    # four sequences are too few to be told apart, and there is no model.
    assert {"discriminators", "infilling", "Frechet distance of states"} <= set(section["left_out"])
    assert "4 generated sequences, compared with real.fa" in text
    # one long record is no sequence to compare lengths with.
    assert set(section["lengths"]) == {"generated"}


def test_a_model_adds_its_states_and_refilled_gaps(folder):
    out, _ = run("model=x", "samples=s.fa", "reference=real.fa", "infill_windows=2")
    section = json.loads(out.read_text())["quality"]
    assert "frechet_model" in {row["name"] for row in section["figures"]}
    gaps = {(row["gap"], row["windows"]) for row in section["infilling"]}
    # 62 windows of 64 bases, of which half may be refilled; gaps of 64 fill a window.
    assert gaps == {(1, 31), (4, 16), (16, 4)}
    assert "gaps of 4: model, drawn" in quality_text(section)


def test_lengths_are_compared_where_the_reference_has_such_sequences(folder):
    lines = (f">r{i}\n{BASES[80 * i : 80 * i + 80]}\n" for i in range(40))
    (folder / "many.fa").write_text("".join(lines))
    out, _ = run("samples=s.fa", "reference=many.fa")
    rows = {row["name"]: row for row in json.loads(out.read_text())["quality"]["figures"]}
    cells = rows["length"]["cells"]
    assert (cells["generated"]["value"], cells["real"]["value"]) == (60.0, 80.0)


def test_a_locus_is_a_track_and_two_pictures(folder):
    out, text = run(*LOCUS, "locus=c3:100-180", "out=x.tsv", "max_order=2")
    lines = out.read_text().splitlines()
    assert lines[0] == "chrom\tstart\tend\tmodel\tmarkov"
    assert len(lines) == 81
    bits = np.array([line.split("\t")[3:] for line in lines[1:]], float)
    assert (bits > 0).all()
    assert {path.name for path in folder.glob("x.*")} == {"x.tsv", "x.png", "x.svg"}
    assert "c3:100-180 (test split)" in text


def test_a_locus_is_read_as_half_open():
    assert parse_locus("chr|a:b:0-10") == Interval("chr|a:b", 0, 10)


@pytest.mark.parametrize("text", ["chrI", "chrI:1", "chrI:5-5", "chrI:9-2", "chrI:0-9000000"])
def test_what_is_not_a_locus_is_refused(text):
    with pytest.raises(ConfigError, match=r"not a valid locus|can be drawn"):
        parse_locus(text)


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["samples=s.fa"], ConfigError, "neither a model nor a reference"),
        (["samples=s.fa", "reference=none.fa"], DataError, r"none\.fa"),
        (["samples=none.fa", "reference=real.fa"], DataError, r"none\.fa"),
        (["samples=s.fa", "reference=real.fa", "scorer=gpt2"], ConfigError, "it needs a model"),
        (
            ["samples=s.fa", "reference=real.fa", "motifs=none.txt"],
            DataError,
            "none.txt: no such file",
        ),
        (["samples=s.fa", "reference=real.fa", "infill_windows=-1"], ConfigError, "at least 0"),
        (["samples=s.fa", "reference=s.fa", "out=no/such/x.json"], DataError, "no/such"),
        ([*LOCUS, "locus=c0:0-70", "out=x.wig"], ConfigError, "must end in"),
        ([*LOCUS, "locus=c0:0-1001", "out=x.tsv"], DataError, "c0"),
        ([*LOCUS, "locus=c9:0-10", "out=x.tsv"], DataError, "c9"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_no_file(folder, overrides, error, message):
    before = {path.name for path in folder.iterdir()} | {"cache"}
    with pytest.raises(error, match=message) as found:
        run(*overrides)
    assert "\n" not in str(found.value)
    assert {path.name for path in folder.iterdir()} | {"cache"} == before


def track_of(path):
    """Position -> bits of the model and of the Markov model, as they are written."""
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    return {int(start): (float(model), float(markov)) for _, start, _, model, markov in rows}


def test_a_track_goes_across_the_origin_of_a_circular_record(folder):
    circle = (*LOCUS, "data.circular=[c0]")
    out, sentence = run(*circle, "locus=c0:940-1060", "out=x.tsv")
    crossing = track_of(out)
    assert list(crossing) == [*range(60), *range(940, 1000)]
    assert "(train split)" in sentence
    # the same bases of a record that is cut open elsewhere.
    turned = BASES[500:1000] + BASES[:500]
    text = (folder / "genome.fa").read_text().replace(BASES[:1000], turned)
    (folder / "genome.fa").write_text(text)
    inner = track_of(run(*LOCUS, "locus=c0:440-560", "out=y.tsv")[0])
    for at, bits in inner.items():
        # four digits are written; the Markov models have counted other words at the two cuts.
        assert crossing[(at + 500) % 1000][0] == pytest.approx(bits[0], abs=1e-4)
    for suffix in ("png", "svg"):
        assert (folder / f"x.{suffix}").stat().st_size


def test_a_track_of_a_whole_circle_has_no_ends(folder):
    circle = (*LOCUS, "data.circular=[c0]")
    whole = track_of(run(*circle, "locus=c0:0-1000", "out=x.tsv")[0])
    linear = track_of(run(*LOCUS, "locus=c0:0-1000", "out=y.tsv")[0])
    assert list(whole) == list(range(1000))
    # the first base is read with its neighbours on both sides.
    assert whole[0][0] != linear[0][0]


@pytest.mark.parametrize(
    ("text", "circular", "message"),
    [
        ("c0:940-1060", "null", r"ends at 1060.*set data\.circular=\[c0\]"),
        ("c0:940-1941", "[c0]", "more than once"),
        ("c0:1000-1001", "[c0]", "more than once"),
        ("c0:0-10", "[c7]", r"data\.circular: record 'c7' is not in the genome"),
    ],
)
def test_a_locus_that_its_record_does_not_have_is_refused(folder, text, circular, message):
    with pytest.raises(DataError, match=message):
        run(*LOCUS, f"locus={text}", f"data.circular={circular}", "out=x.tsv")
    assert not list(folder.glob("x.*"))


def test_genes_of_a_circle_stand_where_the_locus_shows_them(folder):
    rows = [
        "c0\tx\tCDS\t991\t1012\t.\t-\t0\tIs_circular=true",
        "c0\tx\tgene\t5\t9\t.\t+\t.\tID=g",
        "c0\tx\tCDS\t500\t510\t.\t+\t0\tID=far",
        "other\tx\tCDS\t1\t9\t.\t+\t0\tID=o",
    ]
    (folder / "a.gff3").write_text("\n".join(rows))
    opened = genome_data(random_model("data.length=64"), settings_of(
        "tracks", *LOCUS, "data.circular=[c0]", "data.annotation=a.gff3", "locus=c0:980-1020",
        "out=x.tsv",
    ).data).open()  # fmt: skip
    pieces = locus.pieces_of_locus(Interval("c0", 980, 1020), opened.store)
    found = locus.features_of_locus(opened, pieces)
    assert [(item.kind, item.interval.start, item.interval.end) for item in found] == [
        ("CDS", 990, 1000), ("CDS", 1000, 1012), ("gene", 1004, 1009),
    ]  # fmt: skip


def test_open_frames_are_read_with_the_genetic_code_that_is_asked_for(folder):
    # TGA is tryptophan in the code of Mycoplasma, and AGA a stop in that of mitochondria.
    made = "".join(np.random.default_rng(0).choice(list("ACGT"), 400))
    (folder / "s.fa").write_text("".join(f">s{i}\n{made}\n" for i in range(4)))
    found = {}
    for code in (None, 1, 4, 2):
        given = [] if code is None else [f"genetic_code={code}"]
        out, _ = run("samples=s.fa", "reference=real.fa", f"out={code}.json", *given)
        section = json.loads(out.read_text())["quality"]
        assert section.get("genetic_code") == code
        frame = next(row for row in section["figures"] if row["name"] == "frame")
        found[code] = frame["cells"]["generated"]["value"]
        assert frame["label"].endswith("stop" if code is None else f"genetic code {code}")
    assert found[None] == found[1]
    expected = {code: longest(made, stops) for code, stops in STOPS.items()}
    assert {code: found[code] for code in STOPS} == expected
    assert len(set(expected.values())) == 3


STOPS = {1: ("TAA", "TAG", "TGA"), 2: ("TAA", "TAG", "AGA", "AGG"), 4: ("TAA", "TAG")}


def longest(text, stops):
    """Codons of the longest stretch without stop, found by reading."""
    best = 0
    for strand in (text, text[::-1].translate(str.maketrans("ACGT", "TGCA"))):
        for frame in range(3):
            run_length = 0
            for at in range(frame, len(strand) - 2, 3):
                run_length = 0 if strand[at : at + 3] in stops else run_length + 1
                best = max(best, run_length)
    return best


def test_an_unknown_genetic_code_is_refused_before_any_work():
    with pytest.raises(ConfigError, match="genetic_code=7 is unknown; use the number that NCBI"):
        run("samples=none.fa", "reference=none.fa", "genetic_code=7")
