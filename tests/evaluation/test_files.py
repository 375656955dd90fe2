"""The evaluation file: round trip, replaced sections, refusals."""

from __future__ import annotations

import json

import pytest

from dnamdlm.errors import DataError
from dnamdlm.evaluation.evaluation_files import read_evaluation, write_evaluation


def test_a_new_section_leaves_the_others(tmp_path):
    path = write_evaluation(tmp_path / "evaluation/test.json", "test", {"likelihood": {"a": 1}})
    write_evaluation(path, "test", {"quality": {"b": 2}})
    content = read_evaluation(path)
    assert (content["likelihood"], content["quality"]) == ({"a": 1}, {"b": 2})
    assert [item.name for item in path.parent.iterdir()] == ["test.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = write_evaluation(tmp_path / "test.json", "test", {"likelihood": {"a": 1}})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_evaluation(path, "test", {"likelihood": {"a": float("nan")}})
    assert read_evaluation(path)["likelihood"] == {"a": 1}


def test_the_file_of_another_split_is_not_overwritten(tmp_path):
    path = write_evaluation(tmp_path / "x.json", "valid", {})
    with pytest.raises(DataError, match="holds split 'valid', not 'test'"):
        write_evaluation(path, "test", {})


def test_an_unknown_section_is_refused(tmp_path):
    with pytest.raises(DataError, match="unknown section 'liklihood'"):
        write_evaluation(tmp_path / "x.json", "test", {"liklihood": {}})


@pytest.mark.parametrize("text", ["", "[1]", json.dumps({"format": "other"}), "{"])
def test_what_is_no_evaluation_file_is_refused(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"x\.json"):
        read_evaluation(path)
