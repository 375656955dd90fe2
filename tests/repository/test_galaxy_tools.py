"""The Galaxy tools are those that the settings of today make, and pass the checks of planemo."""

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import pytest

from workflows.galaxy.make_tools import FOLDER, TOOLS, tool_xml


@pytest.mark.parametrize("entry", TOOLS)
def test_a_tool_is_made_from_the_settings_of_today(entry):
    found = (FOLDER / f"dnamdlm_{entry}.xml").read_text(encoding="utf-8")
    assert found == tool_xml(entry), "run: python -m workflows.galaxy.make_tools"


@pytest.mark.parametrize("entry", TOOLS)
def test_every_file_of_a_tool_is_a_setting_of_the_command(entry):
    root = ET.fromstring(tool_xml(entry))
    names = {param.get("name") for param in root.find("inputs")}
    assert {name.replace(".", "_") for name in TOOLS[entry].inputs} <= names
    assert {param.get("name") for param in root.find("tests/test").iter("param")} <= names


@pytest.mark.parametrize("entry", TOOLS)
def test_every_parameter_reaches_the_command_and_may_be_a_list(entry):
    root = ET.fromstring(tool_xml(entry))
    params = root.findall("inputs/param")
    names = [param.get("name") for param in params]
    command = root.findtext("command")
    assert [name for name in names if re.search(rf"\${name}\b", command) is None] == []
    for name in TOOLS[entry].inputs:
        assert f"    {name}={name.replace('.', '_')}.$ending_of_" in command
    for param in params:
        # Galaxy replaces brackets in text, and so in lists, unless they are allowed.
        allowed = "".join(item.get("value") for item in param.iterfind("sanitizer/valid/add"))
        assert allowed == ("[]" if param.get("type") == "text" else "")


def test_a_number_that_may_be_null_is_a_field_for_text():
    params = ET.fromstring(tool_xml("evaluate")).findall("inputs/param")
    kinds = {param.get("name"): param.get("type") for param in params}
    assert (kinds["repeat_length"], kinds["max_order"]) == ("text", "integer")


@pytest.mark.slow
def test_planemo_finds_no_fault():
    planemo = os.environ.get("PLANEMO") or shutil.which("planemo")
    if planemo is None:
        pytest.skip("no planemo on the path, nor named by PLANEMO; pip install planemo")
    paths = sorted(map(str, FOLDER.glob("*.xml")))
    ended = subprocess.run([planemo, "lint", *paths], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
