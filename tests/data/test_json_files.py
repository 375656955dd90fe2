"""Whatever is wrong with a JSON file is one kind of error."""

import pytest

from dnamdlm.data.json_files import JsonError, read_json_file, read_json_text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "line 1, column 1: Expecting value"),
        (b'{"a": 1', "line 1, column 8: Expecting"),
        (b"[" * 100_000, "brackets are nested too deeply"),
        (b'{"a":' * 100_000, "brackets are nested too deeply"),
        (b"9" * 5000, "a number has thousands of digits"),
        (b'{"a": "\xe9"}', "byte 8 is not UTF-8"),
        (b"\xff\xfe[\x00", "byte 1 is not UTF-8"),
    ],
    ids=["empty", "cut", "lists", "objects", "digits", "Latin-1", "UTF-16"],
)
def test_a_broken_file_is_a_json_error(tmp_path, content, reason):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(JsonError, match=reason) as found:
        read_json_file(path)
    assert "\n" not in str(found.value)


def test_a_folder_is_a_json_error_and_a_missing_file_is_itself(tmp_path):
    with pytest.raises(JsonError, match="directory"):
        read_json_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_json_file(tmp_path / "none")


def test_a_value_is_read():
    assert read_json_text(' {"a": [1, null, "b"]}\n') == {"a": [1, None, "b"]}
