"""Windows per second of the training stream, compared with one pyfaidx or pysam read per window.

    python -m benchmarks.speed.loader [--fasta FILE] [--threads N] [--repeats 9]

The pyfaidx and pysam rows read one random window at a time and turn it into ids, with a dictionary
letter by letter or with a table, and stack a batch; pysam is measured where it is installed. They
do less than the training stream, which also shifts and turns windows, marks N, and makes noise
keys. All loaders take turns on the same genome. The last rows time the preparation of the genome
from compressed and from plain FASTA.
"""

import argparse
import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyfaidx
import torch

from benchmarks.results_table import Cell, ResultTable, store
from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.genome.store import GenomeStore, prepare_genome
from dnamdlm.data.textfile import open_blocks
from dnamdlm.tokens.nucleotide import IDS_OF_CODES, NucleotideTokenizer, code_table

SHAPES = ((1024, 32), (1024, 256), (32_768, 8))
LETTERS = "ACGTN"


def faidx_reader(fasta: Path) -> Callable[[str, int, int], str]:
    """Letters of an interval, read by pyfaidx."""
    file = pyfaidx.Fasta(str(fasta), as_raw=True, sequence_always_upper=True)
    return lambda name, start, end: file[name][start:end]


def pysam_reader(fasta: Path) -> Callable[[str, int, int], str]:
    """Letters of an interval, read by pysam."""
    import pysam

    file = pysam.FastaFile(str(fasta))
    return lambda name, start, end: file.fetch(name, start, end).upper()


class WindowLoader:
    """Random windows of a plain FASTA file, one read each."""

    def __init__(
        self,
        read: Callable[[str, int, int], str],
        genome: GenomeStore,
        shape: tuple[int, int],
        encode: Callable[[str], torch.Tensor],
    ) -> None:
        self._read = read
        self._length, self._batch = shape
        self._names = [name for name, size in genome.lengths.items() if size >= self._length]
        self._sizes = np.array([genome.lengths[name] for name in self._names])
        self._random = np.random.default_rng(0)
        self._encode = encode

    def __call__(self) -> torch.Tensor:
        """One batch of ids."""
        weights = self._sizes / self._sizes.sum()
        records = self._random.choice(len(self._names), self._batch, p=weights)
        rows = []
        for record in records:
            start = int(self._random.integers(self._sizes[record] - self._length + 1))
            letters = self._read(self._names[record], start, start + self._length)
            rows.append(self._encode(letters))
        return torch.stack(rows)


def encode_by_dictionary(text: str) -> torch.Tensor:
    """Ids letter by letter, as a tokenizer in Python does."""
    return torch.tensor([_IDS[letter] for letter in text])


def encode_by_table(text: str) -> torch.Tensor:
    """Ids by one look-up of all letters in a table."""
    return torch.from_numpy(_TABLE[np.frombuffer(text.encode("ascii"), dtype=np.uint8)])


def stream_loader(data: GenomeData, batch: int) -> Callable[[], object]:
    """The next batch of a training stream at every call."""
    stream = data.open().training_stream(seed=0, global_batch_size=batch)
    steps = iter(range(1 << 40))
    return lambda: stream.batch(next(steps))


def windows_per_second(
    loaders: dict[str, Callable[[], object]], batch: int, *, repeats: int, seconds: float
) -> dict[str, float]:
    """Median rate over `repeats` turns of about `seconds` each; the first turn is not counted."""
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(repeats + 1):
        for name, loader in loaders.items():
            start, calls = time.perf_counter(), 0
            while (passed := time.perf_counter() - start) < seconds:
                loader()
                calls += 1
            rates[name].append(calls * batch / passed)
    return {name: statistics.median(values[1:]) for name, values in rates.items()}


def preparation_rate(fasta: Path, folder: Path, *, repeats: int) -> float:
    """Median rate of preparing a genome into an empty cache, in Mb/s."""
    rates = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(dir=folder) as cache:
            start = time.perf_counter()
            num_bases = prepare_genome(fasta, cache_dir=cache).num_bases
            rates.append(num_bases / 1e6 / (time.perf_counter() - start))
    return statistics.median(rates)


def rows_of_shapes(
    arguments: argparse.Namespace, opened: OpenGenome, plain: Path, cache: str
) -> list[tuple[Cell, ...]]:
    """Windows per second of every loader, for each shape of a batch."""
    readers = {"pyfaidx": faidx_reader}
    if importlib.util.find_spec("pysam") is not None:
        readers["pysam"] = pysam_reader
    rows: list[tuple[Cell, ...]] = []
    for length, batch in SHAPES:
        settings = {"fasta": arguments.fasta, "cache_dir": cache, "length": length}
        still = GenomeData(**settings, jitter=False, reverse_complement=False)
        loaders = {
            **{
                f"{reader}, {encoding}": WindowLoader(
                    read(plain), opened.store, (length, batch), encode
                )
                for reader, read in readers.items()
                for encoding, encode in ENCODINGS.items()
            },
            "training stream, no augmentation": stream_loader(still, batch),
            "training stream": stream_loader(GenomeData(**settings), batch),
        }
        rates = windows_per_second(
            loaders, batch, repeats=arguments.repeats, seconds=arguments.seconds
        )
        base = rates["pyfaidx, dictionary"]
        if "pysam" not in readers:
            rows.append(("pysam (not installed)", length, batch, None, None, None))
        rows += [
            (loader, length, batch, rate, rate * length / 1e6, rate / base)
            for loader, rate in rates.items()
        ]
    return rows


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--fasta", default="embedded:yeast")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.25)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = GenomeData(fasta=arguments.fasta, cache_dir=str(folder / "cache"))
        opened = data.open()
        plain = folder / "genome.fa"
        with plain.open("wb") as out:
            out.writelines(open_blocks(opened.source_path))
        rows = rows_of_shapes(arguments, opened, plain, str(folder / "cache"))
        for kind, path in (("as given", opened.source_path), ("plain", plain)):
            rate = preparation_rate(path, folder, repeats=3)
            rows.append((f"preparation of the genome, {kind}", None, None, None, rate, None))
    table = ResultTable(
        "speed-loader",
        "Loading of training windows",
        (
            "loader",
            "bp per window",
            "windows per batch",
            "windows/s",
            "Mb/s",
            "x pyfaidx, dictionary",
        ),
        rows,
        (
            f"genome: {Path(arguments.fasta).name}, {opened.store.num_bases:,} bp; "
            "files in the page cache",
            f"medians of {arguments.repeats} turns of {arguments.seconds} s after one that is not "
            "counted; the loaders take turns",
            "the pyfaidx and pysam rows neither shift nor turn windows, nor make noise keys",
            "preparation: median of 3, with hashing, checking and flushing to disk",
            f"load average of the machine at the start: {load:.1f} on {os.cpu_count()} processors",
        ),
    )
    store(table, threads=arguments.threads)


_IDS = {letter: int(NucleotideTokenizer().encode(letter)[0]) for letter in LETTERS}
_TABLE = IDS_OF_CODES[np.minimum(code_table(), len(IDS_OF_CODES) - 1)]

ENCODINGS = {"dictionary": encode_by_dictionary, "table": encode_by_table}


if __name__ == "__main__":
    main()
