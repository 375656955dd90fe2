"""Byte and line sources that notice damage: plain, gzip and bgzip files.

Compressed files are read member by member, so that a truncated file, a wrong checksum, foreign
bytes after the end and a bgzip file without its end marker are errors that name the offset.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from unicodedata import category

from dnamdlm.data.piped_files import on_disk
from dnamdlm.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
_READ_BYTES = 1 << 16
# the lines of a block take several times its memory.
_LINE_BLOCK_BYTES = 1 << 18
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# a compressed file of a few MB may hold a line that fills the memory.
_MAX_LINE_BYTES = 1 << 28
_FOREIGN_MAGICS = (
    (b"BZh", "a bzip2 file", "decompress it with bunzip2"),
    (b"\xfd7zXZ\x00", "an xz file", "decompress it with unxz"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", "decompress it with unzstd"),
    (b"PK\x03\x04", "a zip archive", "unpack it with unzip"),
    (b"\x1a\x41\x27\x43", "a .2bit file", "convert it with UCSC's twoBitToFa"),
    (b"\x43\x27\x41\x1a", "a .2bit file", "convert it with UCSC's twoBitToFa"),
    (b"version https://git-lfs", "a git-lfs pointer", "download the file itself with git lfs pull"),
    (b"\xff\xfe", "UTF-16 text", "save it as plain ASCII text"),
    (b"\xfe\xff", "UTF-16 text", "save it as plain ASCII text"),
)


def open_blocks(
    path: Path,
    *,
    block_bytes: int = 1 << 22,
    on_raw: Callable[[bytes], object] | None = None,
) -> Iterator[bytes]:
    """Decompressed content of `path` in blocks of at most `block_bytes` bytes.

    A UTF-8 byte-order mark, which spreadsheet programs write, is left out. What comes through a
    pipe is kept in a temporary file, so that it can be read again (`on_disk`).

    Args:
        path: a plain, gzip or bgzip file.
        block_bytes: upper bound of a block, which bounds the memory in use.
        on_raw: called with every piece of the file as it lies on disk (for checksums).

    Raises:
        DataError: if the file is missing, a folder, a device, empty, not readable, of a foreign
            kind or damaged.
    """
    try:
        with on_disk(path).open("rb") as file:
            head = file.read(64)
            _refuse_foreign(path, head)
            file.seek(0)
            if head.startswith(_GZIP_MAGIC):
                is_bgzip = begins_bgzip(head)
                pieces = _gzip_pieces(path, file, block_bytes, on_raw, is_bgzip=is_bgzip)
                yield from _without_mark(_gathered(pieces, block_bytes))
            else:
                yield from _without_mark(_plain_pieces(file, block_bytes, on_raw))
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
    number, held, num_held = 0, [b""], 0
    for block in open_blocks(path, block_bytes=_LINE_BLOCK_BYTES):
        *lines, rest = block.split(b"\n")
        if lines:
            lines[0] = b"".join([*held, lines[0]])
            held, num_held = [], 0
        for line in lines:
            number += 1
            yield number, _decode_line(path, number, line)
        held.append(rest)
        num_held += len(rest)
        if b"\0" in rest:
            raise _nul_byte(path, number + 1)
        if num_held > _MAX_LINE_BYTES:
            raise DataError(
                f"{path}, line {number + 1}: the line is longer than {_MAX_LINE_BYTES >> 20} MiB; "
                "the file is not a table or has no line ends"
            )
    if num_held:
        yield number + 1, _decode_line(path, number + 1, b"".join(held))


def plain_cell(text: str) -> str:
    r"""A name from a file as one cell of a tab-separated table.

    Tabs and line ends become blanks, and other control characters, on which a terminal would act,
    become `\x1b` and the like. Everything else stays, so that tables can be joined by name.
    """
    if text.isprintable():
        return text
    text = " ".join(text.replace("\t", " ").splitlines())
    return "".join(f"\\x{ord(letter):02x}" if _is_control(letter) else letter for letter in text)


def _is_control(letter: str) -> bool:
    return category(letter) == "Cc"


def _decode_line(path: Path, number: int, line: bytes) -> str:
    line = line.removesuffix(b"\r")
    if b"\0" in line:
        raise _nul_byte(path, number)
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


def _nul_byte(path: Path, number: int) -> DataError:
    return DataError(f"{path}, line {number}: a NUL byte; the file is binary or damaged")


def _refuse_foreign(path: Path, head: bytes) -> None:
    if not head:
        raise DataError(f"{path}: the file is empty; download or write it again")
    for magic, kind, remedy in _FOREIGN_MAGICS:
        if head.startswith(magic):
            raise DataError(
                f"{path}: this is {kind}; plain, gzip or bgzip text is needed: {remedy}"
            )
    if head.lstrip()[:1] == b"<":
        raise DataError(
            f"{path}: this looks like an HTML or XML page, not data; "
            "the download probably failed: download it again"
        )


def begins_bgzip(head: bytes) -> bool:
    """Whether the first 18 bytes of a gzip file are those of a bgzip block."""
    # RFC 1952 extra field with the subfield "BC" (SAM specification, section 4.1).
    return len(head) >= 18 and bool(head[3] & 4) and head[12:14] == b"BC"


def _plain_pieces(
    file: BinaryIO, block_bytes: int, on_raw: Callable[[bytes], object] | None
) -> Iterator[bytes]:
    while piece := file.read(block_bytes):
        if on_raw is not None:
            on_raw(piece)
        yield piece


def _without_mark(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks without a byte-order mark at the start, which blocks may cut."""
    held: list[bytes] = []
    for block in blocks:
        held.append(block)
        if sum(map(len, held)) >= len(_BYTE_ORDER_MARK):
            break
    too_many = len(_BYTE_ORDER_MARK) if b"".join(held).startswith(_BYTE_ORDER_MARK) else 0
    for block in held:
        if kept := block[too_many:]:
            yield kept
        too_many = max(0, too_many - len(block))
    yield from blocks


def _gzip_pieces(
    path: Path,
    file: BinaryIO,
    block_bytes: int,
    on_raw: Callable[[bytes], object] | None,
    *,
    is_bgzip: bool,
) -> Iterator[bytes]:
    members = _GzipMembers(path, block_bytes, is_bgzip=is_bgzip)
    while piece := file.read(_READ_BYTES):
        if on_raw is not None:
            on_raw(piece)
        yield from members.feed(piece)
    members.close()


def _gathered(pieces: Iterator[bytes], block_bytes: int) -> Iterator[bytes]:
    """Small pieces joined to blocks of at most `block_bytes`."""
    held: list[bytes] = []
    num_bytes = 0
    for piece in pieces:
        if held and num_bytes + len(piece) > block_bytes:
            yield b"".join(held)
            held, num_bytes = [], 0
        held.append(piece)
        num_bytes += len(piece)
    if held:
        yield b"".join(held)


class _GzipMembers:
    """Decompresses a gzip file, of which it checks each member.

    Args:
        path: the file, for messages.
        limit: most bytes of a piece.
        is_bgzip: an empty member must be the last.
    """

    def __init__(self, path: Path, limit: int, *, is_bgzip: bool) -> None:
        self._path, self._limit, self._is_bgzip = path, limit, is_bgzip
        self._consumed = 0
        self._begin()

    def _begin(self) -> None:
        """A new member begins where the last one ended."""
        self._member = zlib.decompressobj(31)
        self._start, self._size = self._consumed, 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The content of the next bytes of the file, in pieces that are not empty.

        Raises:
            DataError: for damaged data, or bytes that are not gzip after a member.
        """
        # at its limit a decompressor may hold back content although all bytes are consumed.
        holds_content = False
        while data or holds_content:
            if self._member.eof:
                self._begin()
                self._check_magic(data)
            piece = self._decompress(data)
            rest = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            self._consumed += len(data) - len(rest)
            self._size += len(piece)
            data = rest
            holds_content = len(piece) == self._limit and not self._member.eof
            if piece:
                yield piece

    def _check_magic(self, data: bytes) -> None:
        if data[:1] != _GZIP_MAGIC[:1]:
            raise DataError(
                f"{self._path}: bytes at offset {self._start} after the end of the gzip data are "
                "not gzip; the file is damaged: download it again"
            )

    def _decompress(self, data: bytes) -> bytes:
        try:
            return self._member.decompress(data, self._limit)
        except zlib.error as error:
            raise DataError(
                f"{self._path}: damaged gzip data in the block at offset {self._start}; "
                "download the file again"
            ) from error

    def close(self) -> None:
        """Check that the file ends where a member ends, a bgzip file with its empty block.

        Raises:
            DataError: if it was cut short.
        """
        if not self._member.eof:
            raise DataError(
                f"{self._path}: truncated gzip file, it ends at offset {self._consumed} inside the "
                f"block at {self._start}; download it again"
            )
        if self._is_bgzip and self._size:
            raise DataError(
                f"{self._path}: the bgzip end-of-file block is missing, so the file is probably "
                f"truncated at offset {self._consumed}; download it again or rewrite it with bgzip"
            )


def has_quoting(header: str, separator: str) -> bool:
    r"""Whether quotation marks group what they enclose, in a table with this header line.

    >>> has_quoting('"seq"\t"label"', "\t"), has_quoting('text\t"label"', "\t")
    (True, False)
    """
    if separator != "\t":
        return True
    names = [name.strip() for name in header.lstrip("\ufeff").split(separator)]
    return all(len(name) > 1 and name[0] == name[-1] == '"' for name in names)
