"""Archives that try to do harm."""

import io
import re
import tarfile
import tracemalloc
import zipfile

import pytest

from data_prep.archives import ArchiveLimits, extract_archive
from dnamdlm.errors import DataError

LIMITS = ArchiveLimits(max_bytes=100_000, max_members=20)
GOOD = {"a/one.fa": b">x\nACGT\n", "a/b/two.fa": b">y\nGG\n"}


def make_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def add_to_tar(path, **attributes):
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo(attributes.pop("name", "evil"))
        for key, value in attributes.items():
            setattr(info, key, value)
        archive.addfile(info)
    return path


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_a_good_archive_is_unpacked_whole(tmp_path, mode):
    make = make_zip if mode == "zip" else lambda path, files: make_tar(path, files, mode)
    archive = make(tmp_path / "archive", GOOD)
    files = extract_archive(archive, tmp_path / "out" / "new", LIMITS)
    assert {str(f.relative_to(tmp_path / "out" / "new")): f.read_bytes() for f in files} == GOOD


NAMES = ["../evil", "a/../../evil", "/evil", "C:\\evil", "a\\..\\evil", "c:evil"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", [make_zip, make_tar], ids=["zip", "tar"])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, make, name):
    archive = make(tmp_path / "archive", {**GOOD, name: b"x"})
    before = tree(tmp_path)
    with pytest.raises(DataError, match="leads out of the target folder"):
        extract_archive(archive, tmp_path / "out", LIMITS)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "attributes",
    [
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.LNKTYPE, "linkname": "../x"},
        {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3},
        {"type": tarfile.BLKTYPE},
        {"type": tarfile.FIFOTYPE},
    ],
    ids=["symlink", "hard link", "character device", "block device", "pipe"],
)
def test_links_and_devices_are_refused(tmp_path, attributes):
    archive = add_to_tar(tmp_path / "archive", **attributes)
    with pytest.raises(DataError, match="'evil' is a link or a device"):
        extract_archive(archive, tmp_path / "out", LIMITS)
    assert tree(tmp_path) == ["archive"]


def test_a_link_in_a_zip_is_refused(tmp_path):
    info = zipfile.ZipInfo("evil")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="is a link or a device"):
        extract_archive(tmp_path / "archive", tmp_path / "out", LIMITS)


@pytest.mark.parametrize("make", [make_zip, make_tar], ids=["zip", "tar"])
def test_names_that_differ_in_case_only_are_refused(tmp_path, make):
    archive = make(tmp_path / "archive", {"a/x": b"1", "A/X": b"2"})
    with pytest.raises(DataError, match="is there twice"):
        extract_archive(archive, tmp_path / "out", LIMITS)


@pytest.mark.parametrize("make", [make_zip, make_tar], ids=["zip", "tar"])
def test_a_bomb_is_refused_by_what_it_announces(tmp_path, make):
    archive = make(tmp_path / "archive", {"zeros": bytes(10_000_000)})
    assert archive.stat().st_size < 20_000
    with pytest.raises(DataError, match="unpacks to more than 100000 bytes"):
        extract_archive(archive, tmp_path / "out", LIMITS)
    assert tree(tmp_path) == ["archive"]


def test_a_bomb_that_lies_about_its_size_is_stopped_while_unpacking(tmp_path):
    archive = make_zip(tmp_path / "archive", {"zeros": bytes(300_000)})
    honest = (300_000).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(honest, (100).to_bytes(4, "little")))
    with pytest.raises(DataError, match=r"unpacks to more than its 100|cannot be unpacked"):
        extract_archive(archive, tmp_path / "out", LIMITS)
    assert tree(tmp_path) == ["archive"]


@pytest.mark.parametrize("make", [make_zip, make_tar], ids=["zip", "tar"])
def test_too_many_members_are_refused(tmp_path, make):
    archive = make(tmp_path / "archive", {f"f{i}": b"" for i in range(21)})
    with pytest.raises(DataError, match="or 20 members"):
        extract_archive(archive, tmp_path / "out", LIMITS)


def test_a_zip_file_of_a_million_members_is_refused_before_they_are_listed(tmp_path):
    entry = b"PK\1\2" + bytes(24) + (1).to_bytes(2, "little") + bytes(16) + b"x"
    directory = entry * 1_000_000
    end = b"PK\5\6" + bytes(4) + b"\1\0\1\0" + len(directory).to_bytes(4, "little") + bytes(6)
    (tmp_path / "archive").write_bytes(directory + end)
    size = len(directory)
    del directory
    tracemalloc.start()
    with pytest.raises(DataError, match="or 10000 members"):
        extract_archive(tmp_path / "archive", tmp_path / "out", ArchiveLimits(max_bytes=10_000))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < size / 10
    assert tree(tmp_path) == ["archive"]


@pytest.mark.parametrize("make", [make_zip, make_tar], ids=["zip", "tar"])
def test_a_cut_or_foreign_file_is_named(tmp_path, make):
    archive = make(tmp_path / "archive", {"x": bytes(range(256)) * 100})
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(DataError, match=re.escape(f"{archive}: cannot be unpacked")):
        extract_archive(archive, tmp_path / "out", LIMITS)
    archive.write_text("<html>busy</html>")
    with pytest.raises(DataError, match="cannot be unpacked"):
        extract_archive(archive, tmp_path / "out", LIMITS)
    assert tree(tmp_path) == ["archive"]


def test_a_damaged_member_leaves_nothing_behind(tmp_path):
    archive = make_zip(tmp_path / "archive", {"good": b"ok", "x": bytes(range(256)) * 100})
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(DataError, match="cannot be unpacked"):
        extract_archive(archive, tmp_path / "out", LIMITS)
    assert tree(tmp_path) == ["archive"]


def test_a_folder_that_exists_is_left_alone(tmp_path):
    archive = make_zip(tmp_path / "archive", GOOD)
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="exists already"):
        extract_archive(archive, tmp_path / "out", LIMITS)


def _tar_of(folder, header_type, content, name=b"a.txt"):
    """A tar of one file, after an extended header with this content."""
    path = folder / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        header = tarfile.TarInfo("header")
        header.type, header.size = header_type, len(content)
        archive.addfile(header, io.BytesIO(content))
        archive.addfile(tarfile.TarInfo(name.decode()), io.BytesIO())
    return path


@pytest.mark.parametrize(
    ("header_type", "content", "found"),
    [
        (tarfile.XHDTYPE, b"9" * 50_000, "an extended header of 50000 bytes"),
        (tarfile.XHDTYPE, b"9" * 8_000, "a number of many digits"),
        (tarfile.XGLTYPE, b"9" * 8_000, "a number of many digits"),
        (tarfile.GNUTYPE_LONGNAME, b"n" * 50_000, "an extended header of 50000 bytes"),
        (tarfile.XHDTYPE, b"22 GNU.sparse.major=1\n", "a sparse file"),
    ],
)
def test_extended_headers_that_keep_tarfile_busy_are_refused(tmp_path, header_type, content, found):
    with pytest.raises(DataError, match=found):
        extract_archive(
            _tar_of(tmp_path, header_type, content), tmp_path / "out", ArchiveLimits(1000, 10)
        )
    assert not (tmp_path / "out").exists()


def test_a_long_name_of_a_common_size_is_read(tmp_path):
    path = tmp_path / "a.tar"
    name = "/".join(["folder" * 10] * 4) + "/a.txt"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    extract_archive(path, tmp_path / "out", ArchiveLimits(1000, 10))
    assert (tmp_path / "out" / name).is_file()
