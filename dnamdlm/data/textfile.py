"""Byte and line sources that notice damage: plain, gzip and bgzip files.

Compressed files are read member by member, so that a truncated file, a wrong checksum, foreign
bytes after the end and a bgzip file without its end marker are errors that name the offset.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from dnamdlm.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
_READ_BYTES = 1 << 16
_FOREIGN_MAGICS = (
    (b"BZh", "a bzip2 file", "decompress it with bunzip2"),
    (b"\xfd7zXZ\x00", "an xz file", "decompress it with unxz"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", "decompress it with unzstd"),
    (b"PK\x03\x04", "a zip archive", "unpack it with unzip"),
    (b"\x1a\x41\x27\x43", "a .2bit file", "convert it with UCSC's twoBitToFa"),
    (b"\x43\x27\x41\x1a", "a .2bit file", "convert it with UCSC's twoBitToFa"),
    (b"version https://git-lfs", "a git-lfs pointer", "fetch the real file with git lfs pull"),
    (b"\xff\xfe", "UTF-16 text", "save it as plain ASCII text"),
    (b"\xfe\xff", "UTF-16 text", "save it as plain ASCII text"),
    (b"\xef\xbb\xbf", "text with a byte-order mark", "save it without the mark (plain ASCII)"),
)


def open_blocks(
    path: Path,
    *,
    block_bytes: int = 1 << 22,
    on_raw: Callable[[bytes], object] | None = None,
) -> Iterator[bytes]:
    """Decompressed content of `path` in blocks of at most `block_bytes` bytes.

    Args:
        path: a plain, gzip or bgzip file.
        block_bytes: upper bound of a block, which bounds the memory in use.
        on_raw: called with every piece of the file as it lies on disk (for checksums).

    Raises:
        DataError: if the file is missing, a folder, empty, not readable, of a foreign kind
            or damaged.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
            _refuse_foreign(path, head)
            file.seek(0)
            if head.startswith(_GZIP_MAGIC):
                yield from _gzip_blocks(path, file, block_bytes, on_raw, is_bgzip=_is_bgzip(head))
            else:
                while piece := file.read(block_bytes):
                    if on_raw is not None:
                        on_raw(piece)
                    yield piece
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; check the path") from error
    except IsADirectoryError as error:
        raise DataError(
            f"{path}: this is a folder, a file is needed; name the file in it"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the file") from error


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers (from 1) and lines of a text file, without their LF or CRLF ends.

    Raises:
        DataError: as `open_blocks`, and for NUL bytes and bytes that are not UTF-8.
    """
    number, rest = 0, b""
    for block in open_blocks(path):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            number += 1
            yield number, _decode_line(path, number, line)
    if rest:
        yield number + 1, _decode_line(path, number + 1, rest)


def plain_cell(text: str) -> str:
    """A name from a file as one cell of a tab-separated table, never a formula of a spreadsheet.

    Tabs and line ends become blanks; a leading =, +, - or @ gets an apostrophe before it.
    """
    text = " ".join(text.replace("\t", " ").splitlines())
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _decode_line(path: Path, number: int, line: bytes) -> str:
    line = line.removesuffix(b"\r")
    if b"\0" in line:
        raise DataError(f"{path}, line {number}: a NUL byte; the file is binary or damaged")
    if b"\r" in line:
        raise DataError(
            f"{path}, line {number}: a bare carriage return; convert the line ends to LF"
        )
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, line {number}: byte 0x{line[error.start]:02x} is not UTF-8; "
            "save the file as UTF-8 text"
        ) from error


def _refuse_foreign(path: Path, head: bytes) -> None:
    if not head:
        raise DataError(f"{path}: the file is empty; fetch or write it again")
    for magic, kind, remedy in _FOREIGN_MAGICS:
        if head.startswith(magic):
            raise DataError(
                f"{path}: this is {kind}; plain, gzip or bgzip text is needed: {remedy}"
            )
    if head.lstrip()[:1] == b"<":
        raise DataError(
            f"{path}: this looks like an HTML or XML page, not data; "
            "the download probably failed: fetch it again"
        )


def _is_bgzip(head: bytes) -> bool:
    # RFC 1952 extra field with the subfield "BC" (SAM specification, section 4.1).
    return len(head) >= 18 and bool(head[3] & 4) and head[12:14] == b"BC"


def _gzip_blocks(
    path: Path,
    file: BinaryIO,
    block_bytes: int,
    on_raw: Callable[[bytes], object] | None,
    *,
    is_bgzip: bool,
) -> Iterator[bytes]:
    """Decompress all members, checking each; gathers small members into larger blocks."""
    gathered: list[bytes] = []
    gathered_bytes = 0
    member = zlib.decompressobj(31)
    member_start, consumed, member_bytes = 0, 0, 0
    last_member_bytes = -1
    pending, may_hold_output = b"", False
    while True:
        if not pending:
            pending = file.read(_READ_BYTES)
            if on_raw is not None and pending:
                on_raw(pending)
        if not pending and (member.eof or not may_hold_output):
            break
        if member.eof:
            last_member_bytes = member_bytes
            member, member_bytes, member_start = zlib.decompressobj(31), 0, consumed
        if member_start == consumed and member_start > 0 and pending[:1] != b"\x1f":
            raise DataError(
                f"{path}: bytes at offset {consumed} after the end of the gzip data are not gzip; "
                "the file is damaged: fetch it again"
            )
        try:
            piece = member.decompress(pending, block_bytes)
        except zlib.error as error:
            raise DataError(
                f"{path}: damaged gzip data in the block at offset {member_start} ({error}); "
                "fetch the file again"
            ) from error
        # at its output limit the decompressor may hold bytes back with no input left to hand over.
        may_hold_output = len(piece) == block_bytes
        rest = member.unused_data if member.eof else member.unconsumed_tail
        consumed += len(pending) - len(rest)
        pending = rest
        member_bytes += len(piece)
        if gathered_bytes + len(piece) > block_bytes and gathered:
            yield b"".join(gathered)
            gathered, gathered_bytes = [], 0
        if piece:
            gathered.append(piece)
            gathered_bytes += len(piece)
    if not member.eof:
        raise DataError(
            f"{path}: truncated gzip file, it ends at offset {consumed} inside the block "
            f"at {member_start}; fetch it again"
        )
    if gathered:
        yield b"".join(gathered)
    if is_bgzip and (member_bytes if member.eof else last_member_bytes) != 0:
        raise DataError(
            f"{path}: the bgzip end-of-file block is missing, so the file is probably truncated "
            f"at offset {consumed}; fetch it again or rewrite it with bgzip"
        )
