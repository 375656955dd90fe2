"""Bring genomes from NCBI, the ten of the guidance paper or any: `python -m data_prep.species`.

Each genome gets its FASTA file, checked against the MD5 that NCBI publishes, and a BED file that
holds out whole chromosomes (or the end of the genome, where the chromosomes are too unequal to come
near the wanted size). Haplotypes, patches, organelles and unplaced pieces stay out of all
splits, since they repeat the chromosomes.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_prep.arguments import run_script
from data_prep.checksums import file_digest, record
from data_prep.download import Limits
from data_prep.ncbi import BASE_URL, Assembly, Record, fetch_assembly, find_assembly
from dnamdlm.data.files import write_text
from dnamdlm.data.genome.splits import SPLIT_NAMES, Splits, split_by_fractions
from dnamdlm.errors import ConfigError

TABLE = Path(__file__).with_name("species.tsv")
# the paper holds out 5 % of its windows for validation; whole chromosomes are coarser.
HELD_OUT = 0.05
MAX_GB = 3.0
USAGE = f"""
python -m data_prep.species out=DIR [species=NAME,...] [accession=GCF_...,...]

Fetches genomes from NCBI, compares them with the published MD5 and writes for each NAME.fa.gz and
NAME.bed (train, valid and test by whole chromosomes), and DIR/data/species.yaml, which makes
data=species a choice of: python -m dnamdlm.train --config-dir DIR config=genome data=species
A file that is there and intact is not fetched again; an interrupted download is resumed.

  out        folder for the files
  species    names out of: all (default) or
             {{names}}
  accession  assemblies of NCBI instead, such as GCF_000001735.4; named by their accession
  max_gb     refuse files that are larger, in GB (default {MAX_GB:g})
  base_url   root of the assemblies (default {BASE_URL})
"""


def known_species() -> dict[str, Assembly]:
    """Name -> assembly of the table beside this file."""
    rows = [
        line.split("\t")
        for line in TABLE.read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    return {name: Assembly(accession, assembly) for name, accession, assembly in rows}


def fetch_species(
    out: Path,
    wanted: Mapping[str, Assembly],
    *,
    base_url: str = BASE_URL,
    limits: Limits | None = None,
) -> Path:
    """Download genomes, split them and write the config that trains on them.

    Args:
        out: target folder.
        wanted: name -> assembly.
        base_url: address of the root of all assemblies.
        limits: size, tries and times of each file.

    Returns:
        The config file.

    Raises:
        DataError: if a download fails or disagrees with what NCBI has published.
    """
    limits = limits or Limits(max_bytes=int(MAX_GB * 1e9))
    for name, assembly in wanted.items():
        fasta, bed = out / f"{name}.fa.gz", out / f"{name}.bed"
        records, md5 = fetch_assembly(assembly, fasta, base_url=base_url, limits=limits)
        splits = split_records(records)
        write_text(bed, bed_text(splits))
        facts = {
            "accession": assembly.accession,
            "assembly": assembly.name,
            "url": f"{assembly.folder(base_url)}/{assembly.prefix}_genomic.fna.gz",
            "bytes": fasta.stat().st_size,
            "md5": md5,
            "sha256": file_digest(fasta, "sha256"),
            "checked": time.strftime("%Y-%m-%d", time.gmtime()),
            "num_records": len(records),
            "split_rule": splits.rule,
            "split_bases": {split: splits.num_bases(split) for split in SPLIT_NAMES},
        }
        record(out, name, facts)
    config = out / "data" / "species.yaml"
    config.parent.mkdir(exist_ok=True)
    write_text(config, config_text(out.resolve(), list(wanted)))
    return config


def split_records(records: Sequence[Record]) -> Splits:
    """Near 5 % each for valid and test, of the chromosomes; of all records where there are none."""
    used = [item for item in records if item.is_chromosome] or list(records)
    lengths = {item.name: item.length for item in used}
    return split_by_fractions(lengths, valid_fraction=HELD_OUT, test_fraction=HELD_OUT)


def bed_text(splits: Splits) -> str:
    """The splits as a BED file."""
    return "".join(
        f"{item.chrom}\t{item.start}\t{item.end}\t{name}\n"
        for name in SPLIT_NAMES
        for item in splits[name]
    )


def config_text(folder: Path, names: Sequence[str]) -> str:
    """An option of the config group `data`: one genome, or a mixture of them."""
    if len(names) == 1:
        return (
            "# Written by data_prep.species.\ndefaults: [genome, _self_]\n"
            f"fasta: {folder / names[0]}.fa.gz\nbed: {folder / names[0]}.bed\n"
        )
    lines = ["# Written by data_prep.species.", "defaults: [mixture, _self_]", "genomes:"]
    for name in names:
        lines.append(f"  {name}: {{fasta: {folder / name}.fa.gz, bed: {folder / name}.bed}}")
    return "\n".join(lines) + "\n"


def wanted_assemblies(
    species: str, accession: str, out: Path, base_url: str, limits: Limits
) -> dict[str, Assembly]:
    """What the command line asks for, by name.

    Raises:
        ConfigError: for an unknown species, one that is given twice, or both settings.
    """
    if accession != "none":
        if species != "all":
            raise ConfigError("species and accession are both given; give one of them")
        found = [
            find_assembly(item, out, base_url, limits) for item in _distinct(accession, "accession")
        ]
        return {re.sub(r"\W", "_", item.accession).lower(): item for item in found}
    table = known_species()
    names = sorted(table) if species == "all" else _distinct(species, "species")
    for name in names:
        if name not in table:
            raise ConfigError(
                f"species={name} is unknown; choose out of {', '.join(table)}, or give accession="
            )
    return {name: table[name] for name in names}


def _distinct(text: str, setting: str) -> list[str]:
    items = text.split(",")
    for item in items:
        if not item or items.count(item) > 1:
            raise ConfigError(f"{setting}={text} names {item!r} twice or nothing; name each once")
    return items


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""

    def body(settings: dict[str, str]) -> str:
        out, base_url = Path(settings["out"]), settings["base_url"].rstrip("/")
        try:
            limits = Limits(max_bytes=int(float(settings["max_gb"]) * 1e9))
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"max_gb={settings['max_gb']} is not a number of GB") from error
        wanted = wanted_assemblies(
            settings["species"], settings["accession"], out, base_url, limits
        )
        config = fetch_species(out, wanted, base_url=base_url, limits=limits)
        return (
            f"wrote {len(wanted)} genomes and {config}; train with: python -m dnamdlm.train "
            f"--config-dir {out} config=genome data=species"
        )

    defaults = {
        "out": None,
        "species": "all",
        "accession": "none",
        "max_gb": f"{MAX_GB:g}",
        "base_url": BASE_URL,
    }
    names = ("\n" + " " * 13).join(known_species())
    return run_script(body, usage=USAGE.format(names=names), defaults=defaults, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
