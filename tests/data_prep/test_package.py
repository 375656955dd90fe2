"""NCBI Datasets packages that were fetched on another machine."""

import hashlib
import json
import zipfile

import pytest

from data_prep import package
from data_prep.archives import ArchiveLimits
from dnamdlm.errors import DataError

LIMITS = ArchiveLimits(max_bytes=100_000)
SEQUENCE = b">chr1\nACGT\n"
MEMBER = "ncbi_dataset/data/GCF_000000001.2/GCF_000000001.2_Ant1.0_genomic.fna"


def make_package(path, sequence=SEQUENCE, md5=None):
    md5 = md5 or hashlib.md5(sequence).hexdigest()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.md", "about")
        archive.writestr(MEMBER, sequence)
        archive.writestr("md5sum.txt", f"{md5}  {MEMBER}\n")
    return path


def test_the_sequences_are_unpacked_checked_and_recorded(tmp_path, capsys):
    archive, out = make_package(tmp_path / "p.zip"), tmp_path / "out"
    assert package.main([f"file={archive}", f"out={out}"]) == 0
    assert "config=genome data.fasta=" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["GCF_000000001.2.fa", "manifest.json"]
    assert (out / "GCF_000000001.2.fa").read_bytes() == SEQUENCE
    recorded = json.loads((out / "manifest.json").read_text())["GCF_000000001.2.fa"]
    assert recorded["sha256"] == hashlib.sha256(SEQUENCE).hexdigest()


def test_other_bytes_than_the_sums_say_are_refused(tmp_path):
    archive = make_package(tmp_path / "p.zip", md5="0" * 32)
    with pytest.raises(DataError, match="does not have its MD5"):
        package.unpack_package(archive, tmp_path / "out", LIMITS)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_package_without_sequence_or_none_at_all_is_named(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr("README.md", "about")
    with pytest.raises(DataError, match=r"holds no \*_genomic\.fna"):
        package.unpack_package(tmp_path / "p.zip", tmp_path / "out", LIMITS)
    assert package.main([f"file={tmp_path / 'none.zip'}", f"out={tmp_path / 'out'}"]) == 2
    assert "no such file; check file=" in capsys.readouterr().err
    assert package.main([f"file={tmp_path / 'p.zip'}", "out=x", "max_gb=much"]) == 2


def test_a_package_that_unpacks_to_too_much_is_refused(tmp_path):
    archive = make_package(tmp_path / "p.zip", sequence=b">x\n" + b"A" * 200_000)
    with pytest.raises(DataError, match="unpacks to more than 100000 bytes"):
        package.unpack_package(archive, tmp_path / "out", LIMITS)
