"""Tables of text: what separates, what is quoted, and what is said of a table of another kind."""

import csv
import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnamdlm.data.tasks.delimited import read_delimited
from dnamdlm.errors import DataError

FIELDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=("Cs",)),
    max_size=8,
).map(str.strip)


def write(folder, name, text):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("ending", [".tsv", ".tab", ".txt", ".TSV"])
def test_quotation_marks_are_letters_between_tabs(tmp_path, ending):
    rows = ['"alpha beta', 'gamma "delta" eta', 'theta"', "it's", '""']
    text = "text\tlabel\n" + "".join(f"{row}\t{i}\n" for i, row in enumerate(rows))
    found = read_delimited(write(tmp_path, f"a{ending}", text))
    assert found.columns == {"text": rows, "label": ["0", "1", "2", "3", "4"]}
    assert found.lines == [2, 3, 4, 5, 6]


def test_quotation_marks_group_between_tabs_where_all_names_have_them(tmp_path):
    # what R's write.table(row.names=FALSE, sep="\t") writes
    path = write(tmp_path, "t.tsv", '"seq"\t"a ""b"""\n"ACGT"\t0.5\n"A\tC"\tNA\n')
    assert read_delimited(path).columns == {"seq": ["ACGT", "A\tC"], 'a "b"': ["0.5", "NA"]}


def test_quotation_marks_group_fields_between_commas(tmp_path):
    text = 'text,label\n"a, b",1\n"she said ""no""\nand left",2\nplain,3\n'
    found = read_delimited(write(tmp_path, "t.csv", text))
    assert found.columns["text"] == ["a, b", 'she said "no"\nand left', "plain"]
    assert found.lines == [2, 3, 5]


@given(st.lists(st.tuples(FIELDS, FIELDS.filter(bool)), min_size=1, max_size=6))
def test_what_the_csv_module_writes_is_read_as_it_was(tmp_path_factory, rows):
    content = io.StringIO()
    csv.writer(content, lineterminator="\n").writerows([("a", "b"), *rows])
    path = write(tmp_path_factory.mktemp("csv"), "t.csv", content.getvalue())
    found = read_delimited(path).columns
    assert list(zip(found["a"], found["b"], strict=True)) == rows


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv"])
def test_a_byte_order_mark_blanks_and_line_ends_are_not_part_of_names(tmp_path, name):
    separator = "\t" if ".tsv" in name else ","
    lines = (f" sequence {separator} label ", f" ACGT{separator}1 ", "")
    content = ("\ufeff" + "\r\n".join(lines)).encode()
    path = write(tmp_path, name, gzip.compress(content) if name.endswith(".gz") else content)
    assert read_delimited(path).columns == {"sequence": ["ACGT"], "label": ["1"]}


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_a_field_may_be_longer_than_the_limit_of_the_csv_module(tmp_path, name):
    separator = "," if name.endswith(".csv") else "\t"
    path = write(tmp_path, name, f"sequence{separator}label\n{'ACGT' * 50_000}{separator}1\n")
    assert len(read_delimited(path).columns["sequence"][0]) == 200_000


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("t.csv", "sequence;label\nACGT;1\n",
         r"line 1: semicolons separate the columns, and a file that ends in .csv has commas; write "
         r"it with these$"),
        ("t.csv", "sequence\tlabel\nACGT\t1\n",
         r"line 1: tabs separate .* write it with these, or let the name end in .tsv$"),
        ("t.tsv", "sequence,label\nACGT,1\n",
         r"line 1: commas separate .*\.tsv has tabs; .*, or let the name end in .csv$"),
        ("t.csv", "sep=;\nsequence;label\n", r"line 1: 'sep=' is a note for a spreadsheet"),
        ("t.csv", "sep=,\nsequence,label\n", r"line 1: 'sep=' is a note for a spreadsheet"),
        ("t.csv", "a,b\n1,2\n1,2,,\n", r"line 3: 4 fields, the header has 2; commas stand at the "
         "end of the line; remove them"),
        ("t.tsv", "a\tb\n1\t2\t\n", r"line 2: 3 fields, the header has 2; tabs stand at the end"),
        ("t.csv", "a,b\n1,2,3\n", "line 2: 3 fields, .*; put a field that has commas"),
        ("t.tsv", '"a"\t"b"\n"1"\t"x"\t2\n', r"line 2: 3 fields, .* \(in R: row.names=FALSE\)$"),
        ("t.tsv", "a\tb\n1 2\n", "line 2: 1 field, the header .*only tabs separate fields"),
        ("t.tsv", "a\tb\n1,2\n", "line 2: 1 field, .*commas separate the columns"),
        ("t.csv", 'a,b\n1,"2\n3,4\n', "line 2: quotation marks do not enclose a whole field"),
        ("t.csv", 'a,b\n"1"2,3\n', "line 2: quotation marks do not enclose a whole field"),
        ("t.csv", "a,b,a\n1,2,3\n", "two columns have the name 'a'"),
        ("t.xlsx", "a,b\n", "tables that end in '.xlsx' are not read; allowed are .csv, .tsv"),
        ("t.csv", b"a,b\n\xe9,2\n", "line 2: byte 0xe9 is not UTF-8"),
    ],
)  # fmt: skip
def test_a_table_of_another_kind_is_told_apart(tmp_path, name, text, sentence):
    with pytest.raises(DataError, match=sentence):
        read_delimited(write(tmp_path, name, text))


def test_rows_with_another_number_of_fields_are_left_out_if_wanted(tmp_path):
    path = write(tmp_path, "t.tsv", "1\t2\n3\n\n4\t5\t6\n7\t8\n")
    found = read_delimited(path, header=("a", "b"), skip_ragged=True)
    assert found.columns == {"a": ["1", "7"], "b": ["2", "8"]}
    assert (found.lines, found.left_out) == ([1, 5], 2)
