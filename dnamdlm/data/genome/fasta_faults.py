"""What is wrong with bytes that a FASTA file may not hold, and what to do about it."""

from __future__ import annotations

from dnamdlm.tokens.nucleotide import AMBIGUITY_CODES

AMBIGUOUS = AMBIGUITY_CODES + AMBIGUITY_CODES.lower()
"""Ambiguity codes in either case."""

_TWOBIT_MAGICS = (b"\x1aA'C", b"C'A\x1a")


def fault_without_header(segment: bytes) -> str:
    """What a file is whose sequence begins before any header."""
    if segment.startswith(b"@"):
        return "this is FASTQ; convert it to FASTA, which starts with '>'"
    if segment.startswith(_TWOBIT_MAGICS):
        return "this is a compressed .2bit file; decompress it first"
    if b"\0" in segment[:4096]:
        return "this is a binary file; a FASTA or .2bit file is needed"
    if segment.startswith((b"LOCUS ", b"ID  ")):
        return "this is a GenBank or EMBL record; export it as FASTA"
    found = segment[:20].split(b"\n")[0].decode("ascii", "backslashreplace")
    return f"{found!r} comes before any header; a FASTA record starts with '>name'"


def fault_of_letter(segment: bytes, letter: int) -> str:
    """What a refused byte means and what to do about it."""
    text = chr(letter)
    is_protein = _looks_like_protein(segment)
    share = _share_outside_dna(segment)
    faults = (
        (letter == 0, "NUL byte; the file is damaged, download it again"),
        (letter > 0x7F, f"byte 0x{letter:02x} is not ASCII; remove it"),
        (text in "-.", f"gap character {text!r}; remove gaps from the file"),
        (
            text.isspace() or text.isdigit(),
            f"{'blank' if text.isspace() else 'digit'} {text!r} between bases, as in GenBank text; "
            "only letters and line ends may follow a header",
        ),
        (
            is_protein,
            f"this looks like protein, {share:.0%} of the letters are not A, C, G, T, U or N; "
            "give a DNA sequence",
        ),
        (text == "*", "gap or stop character '*'; remove it from the file"),
        (text in "Uu", "U means RNA; write T for U, or set data.rna=true if the command has it"),
        (
            letter in AMBIGUOUS,
            f"ambiguity code {text!r}; set data.iupac=n to read such codes as N, or random",
        ),
    )
    otherwise = f"{text!a} is not a nucleotide code; A, C, G, T, N and ambiguity codes are read"
    return next((message for applies, message in faults if applies), otherwise)


def _share_outside_dna(segment: bytes) -> float:
    letters = segment.translate(None, b"\n \t")
    return len(letters.translate(None, b"ACGTUNacgtun")) / max(1, len(letters))


def _looks_like_protein(segment: bytes) -> bool:
    has_amino_acid = any(letter in segment.upper() for letter in b"EFILPQ")
    return has_amino_acid and _share_outside_dna(segment) > 0.5
