"""The `sample` entry without a shell: every sampler, conditioning, streaming and mistakes."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.assembly.sample import generating, sample_writers, sampling
from dnamdlm.backbones.dit import DiT
from dnamdlm.data.genome.fasta import read_fasta
from dnamdlm.data.genome.fasta_writer import header_word
from dnamdlm.diffusion.schedules import LogLinear
from dnamdlm.diffusion.times import Uniform
from dnamdlm.errors import ConfigError, DataError, DnamdlmError
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.setting_files import config_folder
from dnamdlm.tokens.iupac import set_table
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from tests.helpers.entries import settings_of

SAMPLERS = sorted(
    path.stem
    for path in (config_folder() / "sampler").glob("*.yaml")
    # those of other models than one of masks are left out.
    if path.stem not in ("left_to_right", "renoise")
)
WINDOW = 16
DATA = {
    "_target_": "dnamdlm.data.genome.genome_settings.GenomeData", "fasta": "x", "length": WINDOW,
}  # fmt: skip
TEMPLATE = "..TATAAARRNNNYYWS..BACGTNN"
GENOME = "ACGTTGCANNCATGCATGCAACGTACGTTTGACCATGACGATCAGATTTACAGACCAGTA"


@pytest.fixture(autouse=True)
def model(monkeypatch):
    torch.manual_seed(0)
    backbone = DiT(12, 16, 1, 2)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    lm = MaskedDiffusionLM(backbone, NUCLEOTIDE_VOCABULARY, LogLinear(), Uniform())
    loaded = LoadedModel(lm, ModelConfig({"data": DATA}), 1, "0123456789abcdef", Path("x"), None)
    monkeypatch.setattr(sampling, "load_model", lambda *_args, **_settings: loaded)
    monkeypatch.setattr(sampling, "start_ops", lambda *_args: None)
    return loaded


def _sample(out, *overrides):
    return sampling.sample(settings_of("sample", "model=x", f"out={out}", *overrides))


def _letters(path):
    return {
        name: "".join("ACGTN"[code & 7] for code in codes)
        for name, codes in read_fasta(path).items()
    }


def _headers(path):
    return [line[1:] for line in path.read_text().splitlines() if line[0] == ">"]


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_fills_a_template_with_the_same_bytes_for_any_batch(name, tmp_path):
    template = tmp_path / "t.fa"
    template.write_text(f">a\n{TEMPLATE}\n>b\nNNNNNNNNNNNNNNNNNNNNNNNNNNACGT\n")
    chosen = [f"template={template}", "num_sequences=3", f"sampler={name}", "seed=5"]
    settings = (config_folder() / "sampler" / f"{name}.yaml").read_text()
    if "\nnum_steps:" in settings:
        chosen.append("sampler.num_steps=16")
    summary = _sample(tmp_path / "x.fa", *chosen)
    _sample(tmp_path / "y.fa", *chosen, "batch_size=2")
    assert (tmp_path / "x.fa").read_bytes() == (tmp_path / "y.fa").read_bytes()
    made = list(_letters(tmp_path / "x.fa").values())
    assert summary.num_sequences == len(made) == 6
    assert summary.num_written == sum(len(letters) for letters in made)
    table = set_table()
    for letters in made[:3]:
        assert len(letters) == len(TEMPLATE)
        assert all(table[ord(t)] & table[ord(x)] for t, x in zip(TEMPLATE, letters, strict=True))
        assert set(letters) <= set("ACGT")
    assert all(letters.endswith("ACGT") for letters in made[3:])
    assert all(f"sampler={name} " in header for header in _headers(tmp_path / "x.fa"))


def test_motifs_stand_where_they_were_put(tmp_path):
    _sample(
        tmp_path / "x.fa", "length=30", "motif=[TATAAA@20,CCRNG@2]", "num_sequences=4",
        "sampler=confidence",
    )  # fmt: skip
    for letters in _letters(tmp_path / "x.fa").values():
        assert letters[20:26] == "TATAAA"
        assert re.fullmatch("CC[AG][ACGT]G", letters[2:7])


def _genome(folder):
    genome = folder / "g.fa"
    genome.write_text(f">chr1\n{GENOME}\n>chr2\nACGTACGTAC\n")
    return [f"data.fasta={genome}", f"data.cache_dir={folder}/cache"]


def _bed(folder, text):
    path = folder / "i.bed"
    path.write_text(text)
    return f"infill={path}"


def test_intervals_are_filled_in_their_context(tmp_path, monkeypatch):
    seen = []
    plain = generating.generate_pieces

    def spy(lm, keys, template, **settings):
        seen.append(template.ids)
        assert len(keys) == len(template.ids)
        return plain(lm, keys, template, **settings)

    monkeypatch.setattr(generating, "generate_pieces", spy)
    bed = _bed(tmp_path, "chr1\t10\t14\nchr1\t0\t3\nchr2\t8\t10\nchr1\t20\t50\n")
    _sample(tmp_path / "x.fa", *_genome(tmp_path), bed, "num_sequences=1", "flank=2")
    symbols = np.array(list("?" * 3 + "." + "?" * 3 + "ACGTN"))
    # windows of one length are filled side by side.
    assert [ids.shape for ids in seen] == [(2, 16), (1, 10), (1, 38)]
    contexts = ["".join(symbols[ids]) for batch in seen for ids in batch]
    # 16 bases around each interval where the record has them, else a quarter window on each side.
    assert contexts[0] == GENOME[4:10] + "...." + GENOME[14:20]
    assert contexts[1] == "..." + GENOME[3:16]
    assert contexts[2] == "ACGTACGT.."
    assert contexts[3] == GENOME[16:20] + "." * 30 + GENOME[50:54]
    made = list(_letters(tmp_path / "x.fa").values())
    assert [len(letters) for letters in made] == [8, 5, 4, 34]
    assert made[0][:2] == GENOME[8:10]
    assert made[0][-2:] == GENOME[14:16]
    headers = _headers(tmp_path / "x.fa")
    assert headers[0].endswith("interval=chr1:10-14 written=chr1:8-16")
    assert headers[1].endswith("interval=chr1:0-3 written=chr1:0-5")


def test_the_context_of_an_interval_of_a_circular_record_goes_across_its_origin(
    tmp_path, monkeypatch
):
    seen = []
    plain = generating.generate_pieces

    def spy(lm, keys, template, **settings):
        seen.append(template.ids)
        return plain(lm, keys, template, **settings)

    monkeypatch.setattr(generating, "generate_pieces", spy)
    bed = _bed(tmp_path, "chr1\t0\t3\nchr1\t58\t60\nchr2\t0\t3\n")
    _sample(tmp_path / "x.fa", *_genome(tmp_path), bed, "num_sequences=1", "flank=2",
            "data.circular=[chr1]")  # fmt: skip
    symbols = np.array(list("?" * 3 + "." + "?" * 3 + "ACGTN"))
    contexts = ["".join(symbols[ids]) for batch in seen for ids in batch]
    assert contexts == [
        GENOME[-7:] + "..." + GENOME[3:9],
        GENOME[51:58] + ".." + GENOME[:7],
        "...TACGTAC",
    ]
    made = list(_letters(tmp_path / "x.fa").values())
    assert (made[0][:2], made[0][-2:]) == (GENOME[-2:], GENOME[3:5])
    assert (made[1][:2], made[1][-2:]) == (GENOME[56:58], GENOME[:2])


def test_a_header_says_what_a_design_was_asked_to_have(tmp_path):
    asked = ["motif=[TATAAA@2,CCRNG@9]", "forbid=[T,K]", "temperature=0.5", "top_k=3"]
    _sample(tmp_path / "x.fa", "length=20", "num_sequences=2", *asked)
    for number, header in enumerate(_headers(tmp_path / "x.fa"), start=1):
        name, *words = header.split()
        facts = dict(word.split("=", 1) for word in words)
        assert name == f"sample_{number:06d}"
        assert facts["motif"] == "TATAAA@2,CCRNG@9"
        assert facts["forbid"] == "T,K"
        assert (facts["temperature"], facts["top_k"]) == ("0.5", "3")
        assert "top_p" not in facts


def test_a_free_sequence_has_no_word_of_what_nobody_asked_for(tmp_path):
    _sample(tmp_path / "x.fa", "length=20", "num_sequences=1")
    (header,) = _headers(tmp_path / "x.fa")
    keys = [word.split("=")[0] for word in header.split()[1:]]
    assert keys == ["length", "model", "sampler", "steps", "seed"]


def test_a_template_and_what_is_forbidden_in_it_stand_in_the_header(tmp_path):
    template = tmp_path / "t.fa"
    template.write_text(">up stream\nNNNNACGT\n>down\nACGTNNNN\n")
    _sample(tmp_path / "x.fa", f"template={template}", "forbid=A", "num_sequences=1")
    assert [header.split(" ", 6)[6] for header in _headers(tmp_path / "x.fa")] == [
        "template=up forbid=A", "template=down forbid=A",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "number", "names"),
    [
        ([(10, 14), (0, 3)], 1, ["chr1:10-14", "chr1:0-3"]),
        ([(10, 14), (0, 3)], 2, ["chr1:10-14_1", "chr1:10-14_2", "chr1:0-3_1", "chr1:0-3_2"]),
        ([(5, 9), (0, 3), (5, 9)], 1, ["chr1:5-9_1", "chr1:0-3", "chr1:5-9_2"]),
    ],
    ids=["once", "several", "row twice"],
)
def test_what_is_infilled_is_named_by_its_interval(tmp_path, rows, number, names):
    bed = _bed(tmp_path, "".join(f"chr1\t{start}\t{end}\n" for start, end in rows))
    _sample(tmp_path / "x.fa", *_genome(tmp_path), bed, f"num_sequences={number}", "forbid=A")
    # the reader refuses a file in which two records have one name.
    assert list(_letters(tmp_path / "x.fa")) == names
    for name, header in zip(names, _headers(tmp_path / "x.fa"), strict=True):
        assert re.search(rf" genome=\w{{12}} interval={name.split('_')[0]} forbid=A$", header)


def test_a_class_of_several_words_is_one_word_of_a_header():
    assert header_word("strong enhancer") == "strong%20enhancer"
    assert header_word("Verst\u00e4rker\t1") == "Verst%C3%A4rker%091"
    assert header_word("chr1:5-9,A@3=x") == "chr1:5-9,A@3=x"


def test_a_long_sequence_streams_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(generating, "_TOKENS_HELD", 100)
    chosen = ["length=250", "sampler=semi_ar", "sampler.num_steps=2", "num_sequences=2"]
    largest = []
    plain = sample_writers.write_fasta

    def spy(path, records, **settings):
        def watched():
            for header, pieces in records:
                yield header, (largest.append(len(piece)) or piece for piece in pieces)

        return plain(path, watched(), **settings)

    monkeypatch.setattr(sample_writers, "write_fasta", spy)
    _sample(tmp_path / "x.fa", *chosen)
    assert max(largest) == WINDOW
    monkeypatch.setattr(generating, "_TOKENS_HELD", 10_000)
    _sample(tmp_path / "y.fa", *chosen)
    assert (tmp_path / "x.fa").read_bytes() == (tmp_path / "y.fa").read_bytes()
    assert [len(letters) for letters in _letters(tmp_path / "x.fa").values()] == [250, 250]


def test_a_length_beyond_training_names_the_sampler_that_fits(tmp_path, caplog):
    with caplog.at_level("WARNING"):
        _sample(tmp_path / "x.fa", "length=20", "sampler.num_steps=2", "num_sequences=1")
    assert "sampler=semi_ar makes long ones" in caplog.text
    caplog.clear()
    _sample(tmp_path / "x.fa", "length=20", "sampler=semi_ar", "num_sequences=1")
    assert not caplog.text


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["sampler.num_steps=0"], ConfigError, r"sampler\.num_steps=0 must be at least 1"),
        (["sampler.grid=square"], ConfigError, r"sampler\.grid=square is unknown"),
        (["sampler=remask", "sampler.strategy=x"], ConfigError, "strategy=x is unknown"),
        (["sampler=block", "sampler.inner=x"], ConfigError, "inner=x is unknown"),
        (["sampler=left_to_right"], ConfigError, "needs an autoregressive model"),
        (["sampler=semi_ar", "sampler.overlap=16"], ConfigError, "below the window of 16 bases"),
        (["forbid=[A,E]"], ConfigError, "forbid=E is not a nucleotide code"),
        (["forbid=N"], ConfigError, r"forbid=\[N\] leaves no base for position 0"),
        (["forbid=[S,W]"], ConfigError, r"forbid=\[S,W\] leaves no base for position 0"),
        (["length=0"], ConfigError, "length=0 must be at least 1"),
        (["batch_size=0"], ConfigError, "batch_size=0 must be at least 1"),
        (["top_k=0"], ConfigError, "top_k=0 must be at least 1"),
        (["flank=-1"], ConfigError, "flank=-1 must be at least 0"),
        (["length=8", "motif=[ACGTACGTAC@0]"], ConfigError, "ends at 10, but the sequence has 8"),
        (["motif=[ACG@0,TTT@2]"], ConfigError, "contradicts another motif at position 2"),
        (["motif=[ACG]"], ConfigError, "write letters@place"),
        (["motif=[AEG@1]"], DataError, "'E', which is not a nucleotide code"),
        (["infill=x.bed"], ConfigError, "belong together"),
        (["template=t.fa", "length=8"], ConfigError, "template and length are both given"),
        (["infill=x.bed", "data.fasta=g.fa", "motif=[A@0]"], ConfigError, "infill and motif"),
        (["+data.fsta=x"], ConfigError, "fsta is not a setting"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_nothing_is_written(overrides, error, message, tmp_path):
    with pytest.raises(error, match=message) as caught:
        _sample(tmp_path / "x.fa", *overrides)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("chr1\t50\t70", "chr1:50-70 ends at 70"),
        ("chr9\t0\t5", "'chr9' is not in the genome"),
        ("chr1\t5\t5", "empty or reversed"),
    ],
)
def test_an_interval_that_does_not_exist_is_refused(row, message, tmp_path):
    with pytest.raises(DnamdlmError, match=message):
        _sample(tmp_path / "x.fa", *_genome(tmp_path), _bed(tmp_path, row + "\n"))
    assert not (tmp_path / "x.fa").exists()


def test_a_protein_template_is_refused(tmp_path):
    template = tmp_path / "t.fa"
    template.write_text(">p\nMKVLAAGIVGLLLAQWERTYIPASDFGHKLMNQ\n")
    with pytest.raises(DataError, match="protein"):
        _sample(tmp_path / "x.fa", f"template={template}")


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_sampler_fills_in_a_forbidden_base(name, tmp_path):
    template = tmp_path / "t.fa"
    template.write_text(">a\nACGTNNNNNNNNNNRSNNNNNNNNN\n>b\nNNNNACGT\n")
    summary = _sample(
        tmp_path / "x.fa", f"template={template}", "forbid=[A,c]", "num_sequences=4",
        f"sampler={name}",
    )  # fmt: skip
    made = list(_letters(tmp_path / "x.fa").values())
    assert summary.num_sequences == len(made) == 8
    for letters in made[:4]:
        assert letters[:4] == "ACGT"
        assert set(letters[4:]) <= set("GT")
        assert letters[14:16] == "GG"
    assert all(letters[4:] == "ACGT" and set(letters[:4]) <= set("GT") for letters in made[4:])


def test_calls_per_sequence_do_not_depend_on_the_batch_size(tmp_path):
    chosen = ["num_sequences=5", "sampler.num_steps=8", "length=16"]
    alone = _sample(tmp_path / "x.fa", *chosen, "batch_size=1")
    together = _sample(tmp_path / "y.fa", *chosen, "batch_size=5")
    assert alone.network_calls == together.network_calls
    assert 1 <= alone.calls_per_sequence <= 8


def test_intervals_of_mixed_lengths_come_in_the_order_of_the_file(tmp_path):
    bed = _bed(tmp_path, "chr1\t10\t14\nchr1\t20\t50\nchr2\t8\t10\nchr1\t30\t33\n")
    chosen = [*_genome(tmp_path), bed, "num_sequences=2"]
    _sample(tmp_path / "x.fa", *chosen)
    _sample(tmp_path / "y.fa", *chosen, "batch_size=1")
    assert (tmp_path / "x.fa").read_bytes() == (tmp_path / "y.fa").read_bytes()
    lengths = [len(letters) for letters in _letters(tmp_path / "x.fa").values()]
    assert lengths == [4, 4, 30, 30, 2, 2, 3, 3]
    names = [header.split()[0] for header in _headers(tmp_path / "x.fa")]
    places = ("chr1:10-14", "chr1:20-50", "chr2:8-10", "chr1:30-33")
    assert names == [f"{place}_{copy}" for place in places for copy in (1, 2)]
