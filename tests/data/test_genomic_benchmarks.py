"""Genomic Benchmarks in both published forms."""

import csv
import gzip

import numpy as np
import pytest

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.tasks.families import GenomicBenchmarks
from dnamdlm.data.tasks.genomic_benchmarks import SUITE, Genomes, read_suite_task
from dnamdlm.errors import DataError

TASK = "human_nontata_promoters"
GENOME = "ACGTTGCANNCATGCATGCAACGTACGTTTGACC"


def write_lists(folder, rows):
    for split in ("train", "test"):
        (folder / TASK / split).mkdir(parents=True)
        for name, lines in rows.items():
            text = "\n".join(["id,region,start,end,strand", *lines]) + "\n"
            path = folder / TASK / split / f"{name}.csv.gz"
            path.write_bytes(gzip.compress(text.encode()))


def write_folders(folder, sequences, task=TASK):
    for split, by_class in sequences.items():
        for name, texts in by_class.items():
            place = folder / task / split / name
            place.mkdir(parents=True)
            for key, text in texts.items():
                (place / f"{key}.txt").write_text(text)


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "g.fa"
    path.write_text(f">1 human\n{GENOME}\n")
    return str(path)


def test_the_nine_tasks_are_known_with_sorted_classes():
    assert len(SUITE) == 9
    assert all(tuple(sorted(task.classes)) == task.classes for task in SUITE.values())
    assert SUITE["human_ensembl_regulatory"].classes == ("enhancer", "ocr", "promoter")


def test_intervals_give_the_bases_of_their_strand(tmp_path, fasta):
    write_lists(
        tmp_path, {"negative": ["a,chr1,0,6,+", "b,chr1,2,6,-"], "positive": ["c,chr1,10,14,"]}
    )
    source = GenomicBenchmarks(str(tmp_path), fasta=fasta, cache_dir=str(tmp_path / "cache"))
    task = source.open(TASK)
    letters = ["".join(".......ACGTN"[t] for t in task.train.sequences[i]) for i in range(3)]
    assert letters == ["ACGTTG", "CAAC", "CATG"]
    assert task.train.targets.tolist() == [0, 0, 1]
    assert task.train.intervals[1] == Interval("chr1", 2, 6, "-")


def test_both_forms_give_the_same_task_whatever_the_order_on_disk(tmp_path, fasta):
    rows = {"negative": ["a,chr1,0,6,+", "b,chr1,2,6,-"], "positive": ["c,chr1,10,14,"]}
    write_lists(tmp_path / "lists", rows)
    texts = {"positive": {"c": "CATG"}, "negative": {"b": "caac", "a": "ACGTTG"}}
    write_folders(tmp_path / "texts", {"train": texts, "test": texts})
    lists = read_suite_task(tmp_path / "lists", TASK, Genomes(fasta, None, str(tmp_path / "c")))
    folders = read_suite_task(tmp_path / "texts", TASK, Genomes())
    assert lists.fingerprint() == folders.fingerprint()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,chr2,0,6,+"], "record 'chr2' is not in the genome"),
        (["a,chr1,30,60,+"], "has 34 bp, but"),
        (["a,chr1,6,2,+"], "line 2: not an interval"),
        (["a,chr1,x,2,+"], "line 2: not an interval"),
    ],
)
def test_a_faulty_interval_is_refused(tmp_path, fasta, rows, message):
    write_lists(tmp_path, {"negative": rows, "positive": ["c,chr1,0,4,"]})
    with pytest.raises(DataError, match=message):
        read_suite_task(tmp_path, TASK, Genomes(fasta, None, str(tmp_path / "cache")))


def test_missing_parts_are_named(tmp_path):
    with pytest.raises(DataError, match="task=human is unknown"):
        read_suite_task(tmp_path, "human", Genomes())
    with pytest.raises(DataError, match="is not a folder; download it"):
        read_suite_task(tmp_path, TASK, Genomes())
    write_lists(tmp_path, {"negative": ["a,chr1,0,6,+"]})
    with pytest.raises(DataError, match=r"needs its genome; give data.fasta=FILE"):
        read_suite_task(tmp_path, TASK, Genomes())


@pytest.mark.slow
@pytest.mark.parity
def test_interval_lists_with_the_genome_give_the_published_sequences(shared, tmp_path):
    name = "human_ocr_ensembl"
    derived = shared / "data/tasks/genomic_benchmarks_chr20" / name
    by_place = {}
    texts = {}
    for split in ("train", "test"):
        texts[split] = {"negative": {}, "positive": {}}
        with (derived / f"{split}.csv").open() as file:
            for number, row in enumerate(csv.DictReader(file)):
                place = (split, row["class"], int(row["start"]), int(row["end"]))
                by_place[place] = row["seq"]
                texts[split][row["class"]][f"{number:06d}"] = row["seq"]
    write_folders(tmp_path, texts, name)
    folders = read_suite_task(tmp_path, name, Genomes())
    fasta = shared / "data/genomes/human_GRCh38_chr20_rebuilt.fa.gz"
    genomes = Genomes(str(fasta), ("chr20",), str(tmp_path / "cache"))
    lists = read_suite_task(shared / "data/tasks/genomic_benchmarks_intervals", name, genomes)
    compared = 0
    for split in ("train", "test"):
        part = getattr(lists, split)
        for row, interval in enumerate(part.intervals):
            letters = "".join(np.array(list(".......ACGTN"))[part.sequences[row]])
            place = (split, lists.label_names[part.targets[row]], interval.start, interval.end)
            if "N" in letters:
                assert place not in by_place
            else:
                assert letters == by_place[place]
                compared += 1
        whole = [i for i in range(len(part)) if not (part.sequences[i] == 11).any()]
        kept = part.take(np.array(whole))
        other = getattr(folders, split)
        assert sorted(kept.sequences[i].tobytes() for i in range(len(kept))) == sorted(
            other.sequences[i].tobytes() for i in range(len(other))
        )
    assert compared == len(by_place) == 2993 + 804
