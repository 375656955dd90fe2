"""Bring the human genome hg38 (GRCh38) from UCSC: `python -m data_prep.hg38 out=DIR`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.arguments import run_script
from data_prep.download import Limits, download
from dnamdlm.errors import DataError

FILE_NAME = "hg38.fa.gz"
BASE_URL = "https://hgdownload.soe.ucsc.edu/goldenPath/hg38/bigZips"
MAX_BYTES = 1_300_000_000
USAGE = f"""
python -m data_prep.hg38 out=DIR [base_url=URL]

Fetches {FILE_NAME} (about 1 GB) from UCSC, compares it with the published MD5 and leaves it in DIR.
An interrupted download goes on where it was. Soft mask and unplaced records are included.

  out       folder for {FILE_NAME}
  base_url  folder of the source (default {BASE_URL})
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
    expected = _published_md5(sums)
    target = out / FILE_NAME
    checked = out / f"{FILE_NAME}.md5"
    if target.is_file() and checked.is_file() and checked.read_text().strip() == expected:
        return target
    is_terminal = sys.stderr.isatty()

    def report(have: int, total: int | None) -> None:
        if is_terminal:
            share = f" of {total / 1e6:,.0f}" if total else ""
            print(f"\r{have / 1e6:,.0f}{share} MB", end="", file=sys.stderr, flush=True)

    download(f"{base_url}/{FILE_NAME}", target, limits, digest=("md5", expected), report=report)
    checked.write_text(expected + "\n", encoding="ascii")
    return target


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""

    def body(settings: dict[str, str]) -> str:
        path = fetch_genome(Path(settings["out"]), base_url=settings["base_url"].rstrip("/"))
        return f"wrote {path}; train with: python -m dnamdlm.train config=hg38 data.fasta={path}"

    return run_script(
        body, usage=USAGE, defaults={"out": None, "base_url": BASE_URL}, arguments=arguments
    )


def _published_md5(path: Path) -> str:
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        match = re.fullmatch(r"([0-9a-fA-F]{32})\s+\*?(?:\./)?(\S+)", line.strip())
        if match and match[2] == FILE_NAME:
            return match[1].lower()
    raise DataError(f"{path}: no MD5 of {FILE_NAME} is published there; check base_url")


if __name__ == "__main__":
    sys.exit(main())
