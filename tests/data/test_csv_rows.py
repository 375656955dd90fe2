"""Rows of CSV: long fields, what is no row, and the tables of variants that are read by them."""

from pathlib import Path

import pytest

from dnamdlm.data.csv_rows import csv_rows
from dnamdlm.data.variants.variant_sources import open_variants
from dnamdlm.errors import DataError

LONG = "ACGT" * 50_000


def test_a_field_may_be_longer_than_the_limit_of_the_module():
    assert list(csv_rows([f"1,{LONG}"], Path("x.csv"))) == [["1", LONG]]


def test_what_is_no_row_is_refused_with_its_number():
    lines = ["a,b", '1,"x"y']
    with pytest.raises(DataError, match=r"x\.csv: row 2 cannot be cut into fields"):
        list(csv_rows(lines, Path("x.csv"), strict=True))


def test_a_table_of_variants_may_have_a_long_allele(tmp_path):
    (tmp_path / "v.csv").write_text(f"chrom,pos,ref,alt\nchr1,5,A,{LONG}\n")
    (row,) = open_variants(tmp_path / "v.csv").rows()
    assert row.fields[4] == LONG
