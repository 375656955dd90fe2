"""Unpack an NCBI Datasets package that was fetched elsewhere: `python -m data_prep.package`.

For machines without a network: the zip archive of `datasets download genome accession` holds
a FASTA file for each assembly and, in newer packages, MD5 sums. It is treated as hostile.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from data_prep.archives import ArchiveLimits, extract_archive
from data_prep.arguments import run_script
from data_prep.checksums import file_digest, published_md5, record
from dnamdlm.errors import ConfigError, DataError

MAX_GB = 40.0
USAGE = f"""
python -m data_prep.package file=ncbi_dataset.zip out=DIR [max_gb=N]

Unpacks the FASTA file of every assembly of an NCBI Datasets package to DIR/ACCESSION.fa.

  file    the package, a zip archive
  out     folder for the FASTA files
  max_gb  refuse packages that unpack to more, in GB (default {MAX_GB:g})
"""
_SEQUENCE = re.compile(r"(GC[AF]_\d{9}\.\d+)_[\w.+-]+_genomic\.fna", re.ASCII)


def unpack_package(package: Path, out: Path, limits: ArchiveLimits) -> list[Path]:
    """Unpack a package and keep its sequences.

    Args:
        package: the zip archive.
        out: target folder.
        limits: size and number of members.

    Returns:
        The FASTA files, sorted.

    Raises:
        DataError: if the archive is refused, holds no sequence, or an MD5 of it does not agree.
    """
    if not package.is_file():
        raise DataError(f"{package}: no such file; check file=")
    out.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".package.", dir=out))
    try:
        folder = temporary / "unpacked"
        files = extract_archive(package, folder, limits)
        found = {match[1]: path for path in files if (match := _SEQUENCE.fullmatch(path.name))}
        if not found:
            raise DataError(
                f"{package}: holds no *_genomic.fna of an assembly; get it with: datasets download "
                "genome accession GCF_... --include genome"
            )
        sums = folder / "md5sum.txt"
        for path in found.values() if sums.is_file() else ():
            if file_digest(path, "md5") != published_md5(sums, path.relative_to(folder).as_posix()):
                raise DataError(f"{package}: {path.name} does not have its MD5; fetch it again")
        targets = []
        for accession, path in sorted(found.items()):
            target = out / f"{accession}.fa"
            facts = {"package": package.name, "member": path.name, "bytes": path.stat().st_size}
            path.replace(target)
            record(out, target.name, {**facts, "sha256": file_digest(target, "sha256")})
            targets.append(target)
        return targets
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""

    def body(settings: dict[str, str]) -> str:
        try:
            limits = ArchiveLimits(max_bytes=int(float(settings["max_gb"]) * 1e9))
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"max_gb={settings['max_gb']} is not a number of GB") from error
        files = unpack_package(Path(settings["file"]), Path(settings["out"]), limits)
        return (
            f"wrote {', '.join(map(str, files))}; train with: python -m dnamdlm.train "
            f"config=genome data.fasta={files[0]}"
        )

    defaults = {"file": None, "out": None, "max_gb": f"{MAX_GB:g}"}
    return run_script(body, usage=USAGE, defaults=defaults, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
