"""Bring the human genome hg38 (GRCh38) from UCSC: `python -m data_prep.hg38 out=DIR`.

With it come the intervals of Basenji, which the published DNA experiments train and test on. No
checksum of them is published, so that their content is checked instead.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_prep.arguments import run_script
from data_prep.checksums import file_digest, is_intact, published_md5, record
from data_prep.download import Limits, download
from dnamdlm.errors import ConfigError, DataError

FILE_NAME = "hg38.fa.gz"
BASE_URL = "https://hgdownload.soe.ucsc.edu/goldenPath/hg38/bigZips"
BED_NAME = "sequences_human.bed"
BED_URL = f"https://storage.googleapis.com/basenji_barnyard2/{BED_NAME}"
# training intervals of the published splits.
NUM_TRAIN = 34_021
MAX_BYTES = 1_300_000_000
MAX_BED_BYTES = 20_000_000
USAGE = f"""
python -m data_prep.hg38 out=DIR [intervals=yes] [base_url=URL] [bed_url=URL]

Fetches {FILE_NAME} (about 1 GB) from UCSC, compares it with the published MD5 and leaves it in DIR,
beside {BED_NAME}, the intervals of Basenji. An interrupted download is resumed; a file
that is there and intact is not fetched again. Soft mask and unplaced records are included.

  out        folder for the files
  intervals  yes, or no to leave out {BED_NAME} (default yes)
  base_url   folder of the genome (default {BASE_URL})
  bed_url    address of the intervals (default {BED_URL})
"""


def fetch_genome(out: Path, *, base_url: str = BASE_URL, limits: Limits | None = None) -> Path:
    """Download the genome unless a file with the published MD5 is there.

    Args:
        out: target folder.
        base_url: address of a folder with the file and md5sum.txt.
        limits: size, tries and times.

    Returns:
        Path of the compressed FASTA file.

    Raises:
        DataError: if a download fails or disagrees with the published MD5.
    """
    limits = limits or Limits(max_bytes=MAX_BYTES)
    sums = out / f"{FILE_NAME}.md5sum.txt"
    download(f"{base_url}/md5sum.txt", sums, limits)
    expected = published_md5(sums, FILE_NAME)
    target = out / FILE_NAME
    if is_intact(target, expected):
        return target
    is_terminal = sys.stderr is not None and sys.stderr.isatty()

    def report(have: int, total: int | None) -> None:
        if is_terminal:
            share = f" of {total / 1e6:,.0f}" if total else ""
            print(f"\r{have / 1e6:,.0f}{share} MB", end="", file=sys.stderr, flush=True)

    url = f"{base_url}/{FILE_NAME}"
    download(url, target, limits, digest=("md5", expected), report=report)
    record(out, FILE_NAME, {"url": url, "bytes": target.stat().st_size, "md5": expected})
    return target


def fetch_intervals(
    out: Path, *, url: str = BED_URL, num_train: int = NUM_TRAIN, limits: Limits | None = None
) -> Path:
    """Download the intervals unless a file with the right content is there.

    Args:
        out: target folder.
        url: address of the BED file.
        num_train: training intervals that it must have.
        limits: size, tries and times.

    Raises:
        DataError: if the download fails or the content is another one.
    """
    target, unchecked = out / BED_NAME, out / f"unchecked_{BED_NAME}"
    if target.is_file():
        check_intervals(target, num_train)
        return target
    download(url, unchecked, limits or Limits(max_bytes=MAX_BED_BYTES))
    try:
        check_intervals(unchecked, num_train)
    except DataError:
        unchecked.unlink()
        raise
    unchecked.replace(target)
    facts = {"url": url, "bytes": target.stat().st_size, "sha256": file_digest(target, "sha256")}
    record(out, BED_NAME, facts)
    return target


def check_intervals(path: Path, num_train: int) -> None:
    """Raise DataError unless a file holds the intervals of the published splits."""
    counts: Counter[str] = Counter()
    text = path.read_text(encoding="ascii", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        columns = line.split("\t")
        is_row = (
            len(columns) == 4
            and columns[0].startswith("chr")
            and columns[1].isdigit()
            and columns[2].isdigit()
            and int(columns[1]) < int(columns[2])
            and columns[3] in ("train", "valid", "test")
        )
        if not is_row:
            raise DataError(
                f"{path}: line {number} is {line[:60]!r}; chromosome, start, end and train, valid "
                "or test are expected: this is not the file of the published splits"
            )
        counts[columns[3]] += 1
    if counts["train"] != num_train or not counts["valid"] or not counts["test"]:
        raise DataError(
            f"{path}: holds {dict(counts)} intervals, {num_train} for train are expected; this is "
            "not the file of the published splits: delete it and check bed_url"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""

    def body(settings: dict[str, str]) -> str:
        out = Path(settings["out"])
        if settings["intervals"] not in ("yes", "no"):
            raise ConfigError(f"intervals={settings['intervals']} must be yes or no")
        bed = ""
        if settings["intervals"] == "yes":
            bed = f" data.bed={fetch_intervals(out, url=settings['bed_url'])}"
        path = fetch_genome(out, base_url=settings["base_url"].rstrip("/"))
        return (
            f"wrote {path}; train with: python -m dnamdlm.train config=hg38 data.fasta={path}{bed}"
        )

    defaults = {"out": None, "intervals": "yes", "base_url": BASE_URL, "bed_url": BED_URL}
    return run_script(body, usage=USAGE, defaults=defaults, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
