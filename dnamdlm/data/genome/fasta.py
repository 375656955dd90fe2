"""Strict streaming reader of FASTA (plain, gzip, bgzip); memory does not grow with the file.

Sequence becomes store codes (A 0, C 1, G 2, T 3, N 4) with the flag 0x80 on lower-case letters,
the soft mask. Every fault of a file is an error that names the record, the line and a remedy;
nothing is guessed. Blank lines, ragged lines, `;` comments, LF, CRLF and CR line ends are accepted;
`FastaCounts` records what is unusual.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.fasta_faults import AMBIGUOUS, fault_of_letter, fault_without_header
from dnamdlm.data.genome.layout import LineLayout, count_lines
from dnamdlm.data.order import SampleOrder
from dnamdlm.data.textfile import open_blocks
from dnamdlm.errors import DataError
from dnamdlm.tokens.iupac import BASES_OF_CODE, set_table
from dnamdlm.tokens.nucleotide import AMBIGUITY_CODES, BASE_CODES, MASK_SYMBOL, code_table
from dnamdlm.words.codes import N_CODE, SOFT_MASK

IupacPolicy = Literal["n", "random", "error", "sets"]

_MAX_HEADER_BYTES = 1 << 20
_PLAIN = b"ACGTNacgtn\n"
_PRINTABLE = bytes(range(0x21, 0x7F))


@dataclass(frozen=True)
class FastaChunk:
    """Consecutive bases of one record; a long record comes in several chunks.

    Attributes:
        name: first word of the header.
        codes: store codes with the soft-mask flag, never empty.
    """

    name: str
    codes: NDArray[np.uint8]


@dataclass
class FastaCounts:
    """What a reader has found so far.

    Attributes:
        lengths: bases of each record, in file order; empty records are not listed.
        empty_records: names of records without a base.
        iupac: number of each ambiguity code (upper case) that was replaced.
        uneven: records with lines of unequal length or blank lines inside -> line of the first.
        line_ends: kinds of line ends that were met: "LF", "CRLF", "CR".
    """

    lengths: dict[str, int] = field(default_factory=dict)
    empty_records: list[str] = field(default_factory=list)
    iupac: Counter[str] = field(default_factory=Counter)
    uneven: dict[str, int] = field(default_factory=dict)
    line_ends: set[str] = field(default_factory=set)

    def irregularities(self) -> list[str]:
        """What was read although it is unusual, one clause each."""
        found: list[str] = []
        if self.empty_records:
            names = self.empty_records
            found.append(f"{len(names)} empty records are left out: {names[:5]}")
        if self.uneven:
            name, line = next(iter(self.uneven.items()))
            found.append(
                f"{len(self.uneven)} records have blank lines inside or lines of unequal length, "
                f"the first is {name!r} at line {line}; the bases are read as they stand"
            )
        if len(self.line_ends) > 1:
            found.append(f"line ends are mixed ({', '.join(sorted(self.line_ends))})")
        return found


class FastaReader:
    """Iterates over the chunks of a file once; `counts` is complete after the last chunk.

    A chunk belongs to the last of `headers`, line and text, when it is given. Whoever takes the
    chunks may remove headers that they are done with.

    Args:
        path: a plain, gzip or bgzip FASTA file.
        iupac: "n" reads ambiguity codes (R, Y, ...) as N and counts them, "random" reads each as
            a base of its set, which depends on record and position only, "error" refuses them,
            "sets" is for templates: '.' means N, and every letter becomes its set of bases (see
            `dnamdlm.tokens.iupac`) in place of a store code.
        rna: read U as T; otherwise U is refused.
        repeated_names: records may share a name; otherwise this is a fault.
        forgets: keep no name and length of a record after its end, so that memory does not grow
            with the number of records; nothing is known then of names that repeat.
        block_bytes: size of the blocks that are read, which bounds the memory in use.
        on_raw: called with every piece of the file as it lies on disk (for checksums).
    """

    def __init__(
        self,
        path: str | Path,
        *,
        iupac: IupacPolicy = "n",
        rna: bool = False,
        repeated_names: bool = False,
        forgets: bool = False,
        block_bytes: int = 1 << 22,
        on_raw: Callable[[bytes], object] | None = None,
    ) -> None:
        self.path = Path(path)
        self.counts = FastaCounts()
        self.headers: list[tuple[int, str]] = []
        self._iupac = iupac
        self._repeated_names = repeated_names
        self._forgets = forgets
        self._block_bytes = block_bytes
        self._on_raw = on_raw
        as_sets = iupac == "sets"
        self._layout = LineLayout()
        self.counts.uneven = self._layout.uneven
        self._table = set_table(rna=rna).tobytes() if as_sets else _translation(rna=rna)
        self._plain = _PLAIN + (b"Uu" if rna else b"")
        if as_sets:
            self._plain += AMBIGUOUS + MASK_SYMBOL.encode("ascii")
        self._line = 1
        self._name = ""
        self._name_lines: dict[str, int] = {}
        self._record_bases = 0
        self._record_ambiguous = 0
        self._record_seed = 0
        self._header = bytearray()
        self._state: Literal["line start", "header", "comment", "sequence"] = "line start"

    def __iter__(self) -> Iterator[FastaChunk]:
        """Yield the chunks in file order.

        Raises:
            DataError: at the first fault.
        """
        blocks = open_blocks(self.path, block_bytes=self._block_bytes, on_raw=self._on_raw)
        for block in _unix_line_ends(blocks, self.counts.line_ends):
            yield from self._parse(block)
        if self._state == "header":
            self._begin_record(bytes(self._header))
        self._end_record()
        if not self._name_lines:
            raise DataError(f"{self.path}: no record; a FASTA header line starts with '>'")
        if not self.counts.lengths:
            raise DataError(
                f"{self.path}: all {len(self._name_lines)} records are empty; "
                "sequence lines are needed after each header"
            )

    def _parse(self, block: bytes) -> Iterator[FastaChunk]:
        position = 0
        while position < len(block):
            if self._state == "line start":
                first = block[position : position + 1]
                if first == b">":
                    self._end_record()
                    self._state = "header"
                    position += 1
                elif first == b";":
                    self._state = "comment"
                elif first == b"\n":
                    self._layout.add(first, self._line)
                    position += 1
                    self._line += 1
                else:
                    self._state = "sequence"
            elif self._state == "sequence":
                end = _end_of_sequence(block, position)
                segment = block[position:end]
                codes = self._encode(segment)
                self._layout.add(segment, self._line)
                self._line += count_lines(segment)
                self._state = "line start" if segment.endswith(b"\n") else "sequence"
                position = end
                if codes.size:
                    yield FastaChunk(self._name, codes)
            else:
                newline = block.find(b"\n", position)
                end = len(block) if newline < 0 else newline
                if self._state == "header":
                    self._header += block[position:end]
                    self._check_header_size()
                position = end
                if newline >= 0:
                    if self._state == "header":
                        self._begin_record(bytes(self._header))
                        self._header.clear()
                    self._state = "line start"
                    self._line += 1
                    position += 1

    def _check_header_size(self) -> None:
        if len(self._header) > _MAX_HEADER_BYTES:
            raise DataError(
                f"{self.path}, line {self._line}: the header is longer than 1 MiB; "
                "the file is not FASTA or has no line ends"
            )

    def _begin_record(self, header: bytes) -> None:
        where = f"{self.path}, line {self._line}"
        words = header.split(maxsplit=1)
        if not words or header[:1].isspace():
            raise DataError(f"{where}: the header has no name; write the name right after '>'")
        if b"\0" in header:
            raise DataError(
                f"{where}: NUL byte in a header; the file is damaged, download it again"
            )
        if words[0].translate(None, _PRINTABLE):
            raise DataError(
                f"{where}: the record name {words[0]!r} has characters outside printable ASCII; "
                "rename the record"
            )
        name = words[0].decode("ascii")
        if name in self._name_lines and not self._repeated_names:
            raise DataError(
                f"{where}: the record name {name!r} was used before in line "
                f"{self._name_lines[name]}; names must differ: rename or remove one"
            )
        if self._forgets:
            self._name_lines.clear()
        self._name_lines[name] = self._line
        self.headers.append((self._line, header.decode("utf-8", "replace")))
        self._name, self._record_bases, self._record_ambiguous = name, 0, 0
        self._layout.begin(name)
        if self._iupac == "random":
            self._record_seed = int.from_bytes(hashlib.sha256(words[0]).digest()[:8], "little")

    def _end_record(self) -> None:
        if not self._name:
            return
        if self._record_ambiguous * 2 > self._record_bases:
            raise DataError(
                f"{self.path}: record {self._name!r} looks like protein: {self._record_ambiguous} "
                f"of {self._record_bases} letters are ambiguity codes; give a DNA sequence"
            )
        if self._record_bases:
            if self._forgets:
                self.counts.lengths.clear()
            self.counts.lengths[self._name] = self._record_bases
        elif not self._forgets:
            self.counts.empty_records.append(self._name)

    def _encode(self, segment: bytes) -> NDArray[np.uint8]:
        if not self._name:
            raise DataError(f"{self.path}, line {self._line}: {fault_without_header(segment)}")
        unusual = segment.translate(None, self._plain)
        if unusual:
            bad = unusual.translate(None, AMBIGUOUS)
            if bad or (self._iupac == "error"):
                raise self._bad_letter(segment, (bad or unusual)[0])
            self.counts.iupac.update(unusual.upper().decode("ascii"))
            self._record_ambiguous += len(unusual)
        codes = np.frombuffer(segment.translate(self._table, b"\n"), dtype=np.uint8)
        if unusual and self._iupac == "random":
            codes = self._draw_bases(segment, codes)
        self._record_bases += codes.size
        return codes

    def _draw_bases(self, segment: bytes, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The codes with each ambiguity code replaced by a base of its set, case kept."""
        letters = np.frombuffer(segment.translate(None, b"\n"), dtype=np.uint8)
        places = np.flatnonzero(_CHOICES[letters, 0] != N_CODE)
        draws = SampleOrder(1, self._record_seed).integers(
            places + self._record_bases, 0, _CHOICES.shape[1]
        )
        drawn = codes.copy()
        drawn[places] = _CHOICES[letters[places], draws] | (codes[places] & SOFT_MASK)
        return drawn

    def _bad_letter(self, segment: bytes, letter: int) -> DataError:
        offset = segment.index(letter)
        line = self._line + segment.count(b"\n", 0, offset)
        base = self._record_bases + offset - segment.count(b"\n", 0, offset) + 1
        where = f"{self.path}, record {self._name!r}, line {line}, base {base}"
        return DataError(f"{where}: {fault_of_letter(segment, letter)}")


def read_fasta(
    path: str | Path, *, iupac: IupacPolicy = "n", rna: bool = False
) -> dict[str, NDArray[np.uint8]]:
    """All records of a small file at once: name -> store codes with the soft-mask flag.

    Args:
        path: a plain, gzip or bgzip FASTA file.
        iupac: "n" reads ambiguity codes as N, "random" as a base of their set, "error" refuses
            them, "sets" gives sets of bases.
        rna: read U as T.

    Raises:
        DataError: at the first fault, as `FastaReader`.
    """
    parts: dict[str, list[NDArray[np.uint8]]] = {}
    for chunk in FastaReader(path, iupac=iupac, rna=rna):
        parts.setdefault(chunk.name, []).append(chunk.codes)
    return {name: np.concatenate(chunks) for name, chunks in parts.items()}


def _choices() -> NDArray[np.uint8]:
    """Twelve equally likely codes of every ambiguity code, either case; N elsewhere; (256, 12)."""
    table = np.full((256, 12), N_CODE, dtype=np.uint8)
    for letter in AMBIGUITY_CODES:
        bases = [BASE_CODES.index(base.encode()) for base in BASES_OF_CODE[chr(letter)]]
        table[[letter, letter | 0x20]] = np.resize(bases, 12)
    return table


_CHOICES = _choices()


def _translation(*, rna: bool) -> bytes:
    table = code_table(rna=rna)
    lower = np.arange(ord("a"), ord("z") + 1)
    table[lower] |= SOFT_MASK
    return table.tobytes()


def _end_of_sequence(block: bytes, position: int) -> int:
    """Offset of the next header or comment line at or after `position`, else the block's end."""
    end = _next_line_with(b">", block, position, len(block))
    return _next_line_with(b";", block, position, end)


def _next_line_with(symbol: bytes, block: bytes, position: int, end: int) -> int:
    """Offset of the first line after `position` that begins with a symbol, else `end`."""
    # searching for one byte is much faster than for two, and sequence lines do not contain it.
    place = block.find(symbol, position, end)
    if place < 0:
        return end
    if place > position and block[place - 1 : place] == b"\n":
        return place
    line_end = block.find(b"\n" + symbol, position, end)
    return end if line_end < 0 else line_end + 1


def _unix_line_ends(blocks: Iterator[bytes], kinds: set[str]) -> Iterator[bytes]:
    """Turn CRLF and CR into LF, also where a CRLF is cut by the end of a block; note the kinds."""
    held = b""
    for piece in blocks:
        block = held + piece
        held = b""
        if b"\r" in block:
            if block.endswith(b"\r"):
                block, held = block[:-1], b"\r"
            num_crlf = block.count(b"\r\n")
            has = {
                "CRLF": num_crlf > 0,
                "CR": block.count(b"\r") > num_crlf,
                "LF": block.count(b"\n") > num_crlf,
            }
            kinds.update(kind for kind, is_there in has.items() if is_there)
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        elif b"\n" in block:
            kinds.add("LF")
        yield block
    if held:
        kinds.add("CR")
        yield b"\n"
