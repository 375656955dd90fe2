"""Makes the Galaxy tools in this folder from the settings of the commands and their comments.

`python -m workflows.galaxy.make_tools` writes one XML file per command. A tool is what `--help`
says: each setting is a parameter with its default and its comment, and files are data sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import hydra
from omegaconf import OmegaConf

import dnamdlm
from dnamdlm.setting_files import config_folder, notes_of, read_setting_file

FOLDER = Path(__file__).parent
_FASTA, _BED, _TABLE = "fasta,fasta.gz", "bed", "tabular,csv,parquet"


@dataclass(frozen=True)
class Tool:
    """What a command has besides its settings.

    Attributes:
        inputs: setting -> formats of Galaxy; these are data sets.
        out: name of what is written; without an ending it is a folder.
        formats: ending of a file that is written -> format of Galaxy.
        tested: parameters of the test of the tool; files lie in `test-data`.
        found: what the result of the test holds; None where the test ends with a mistake.
    """

    inputs: Mapping[str, str]
    out: str
    formats: Mapping[str, str]
    tested: Mapping[str, str]
    found: str | None = None


TOOLS = {
    "score": Tool(
        {"variants": f"vcf,vcf_bgzip,bcf,{_TABLE}", "data.fasta": _FASTA, "bed": _BED},
        "scores.tsv",
        {"tsv": "tabular"},
        {"model": "yeast-demo", "variants": "v.vcf", "data_fasta": "g.fa"},
        "delta_elbo",
    ),
    "embed": Tool(
        {"data.fasta": _FASTA, "data.bed": _BED},
        "states.parquet",
        {"parquet": "parquet"},
        {"model": "yeast-demo", "data_fasta": "g.fa"},
        "PAR1",
    ),
    "predict": Tool(
        {"input": f"{_TABLE},{_FASTA}", "data.fasta": _FASTA},
        "predictions.tsv",
        {"tsv": "tabular"},
        # which is a language model, and makes no predictions.
        {"model": "yeast-demo", "input": "g.fa"},
    ),
    "sample": Tool(
        {"template": _FASTA, "edit": _FASTA, "infill": _BED, "data.fasta": _FASTA},
        "samples.fa",
        {"fa": "fasta"},
        {"model": "yeast-demo", "num_sequences": "2", "length": "50"},
        "sample_000002",
    ),
    "tracks": Tool(
        {"data.fasta": _FASTA, "data.annotation": "gff3,gtf", "bed": _BED},
        "tracks",
        {"bw": "bigwig", "bb": "bigbed", "html": "html", "txt": "txt", "json": "json"},
        {"model": "yeast-demo", "data_fasta": "g.fa", "locus": "a:0-100"},
        "useOneFile",
    ),
    "interpret": Tool(
        {"data.fasta": _FASTA},
        "interpretation",
        {"tsv": "tabular", "png": "png", "svg": "svg", "npz": "npz", "bedpe": "tabular",
         "json": "json"},
        {"model": "yeast-demo", "data_fasta": "g.fa", "locus": "a:10-30"},
        "sequence",
    ),
    "evaluate": Tool(
        {"data.fasta": _FASTA, "data.annotation": "gff3", "data.bed": _BED},
        "evaluation.json",
        {"json": "json"},
        {"model": "yeast-demo", "data_fasta": "splits.fa", "data_bed": "splits.bed",
         "max_order": "2"},
        "bits_per_base",
    ),
}  # fmt: skip
# what a job of Galaxy has no use for, and lists of YAML, which are given as text.
_LEFT_OUT = frozenset({
    "out", "debug", "devices", "shard", "data.cache_dir", "data.corpus", "trust", "reward",
    # how many Galaxy grants.
    "threads",
})  # fmt: skip
# numbers that may be null, which has a meaning of its own and which no field for numbers takes.
_NULLABLE = frozenset({"repeat_length"})
# Galaxy writes brackets as __ob__ and __cb__ unless they are allowed, and lists have them.
_BRACKETS = (
    '<sanitizer><valid initial="default"><add value="["/><add value="]"/></valid></sanitizer>'
)
# how data sets are called, so that the command knows their format.
_LINKS = {"fasta": "fa", "fasta.gz": "fa.gz", "tabular": "tsv", "vcf_bgzip": "vcf.gz"}


def tool_xml(entry: str) -> str:
    """The tool of a command, as XML."""
    tool, folder = TOOLS[entry], config_folder(entry)
    about = read_setting_file(folder / f"{entry}.yaml").about
    settings = list(_settings(entry))
    lines = [
        f'<tool id="dnamdlm_{entry}" name="dnamdlm {entry}" '
        f'version="{dnamdlm.__version__}+galaxy0" profile="23.0">',
        f"    <description>{escape(_first(about))}</description>",
        "    <requirements>",
        f'        <requirement type="package" version="{dnamdlm.__version__}">dnamdlm'
        "</requirement>",
        "    </requirements>",
        '    <command detect_errors="exit_code"><![CDATA[',
        *_command(entry, tool, settings),
        "    ]]></command>",
        "    <inputs>",
        *(f"        {_param(name, value, note, tool)}" for name, value, note in settings),
        "    </inputs>",
        "    <outputs>",
        *_outputs(entry, tool),
        "    </outputs>",
        "    <tests>",
        *_test(tool),
        "    </tests>",
        "    <help><![CDATA[",
        *about,
        "    ]]></help>",
        "    <citations>",
        '        <citation type="doi">10.48550/arXiv.2406.07524</citation>',
        "    </citations>",
        "</tool>",
    ]
    return "\n".join(lines) + "\n"


def _settings(entry: str) -> Iterator[tuple[str, Any, str]]:
    """Name, default and comment of each setting that a job may give."""
    folder = config_folder(entry)
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(folder)):
        config = hydra.compose(config_name=entry)
    tree = OmegaConf.to_container(config, resolve=False)
    assert isinstance(tree, dict)
    notes = notes_of(folder, entry, {})
    for name, value in _leaves(tree, ""):
        top = name.split(".")[0]
        if name not in _LEFT_OUT and top not in ("hydra", "sampler"):
            yield name, value, notes.get(name, "")


def _leaves(tree: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _command(entry: str, tool: Tool, settings: list[tuple[str, Any, str]]) -> list[str]:
    lines = []
    for name in tool.inputs:
        variable = _variable(name)
        ending = f"$ending_of_{variable}"
        known = ", ".join(f"'{a}': '{b}'" for a, b in _LINKS.items())
        lines += [
            f"#if ${variable}",
            f"    #set $ending_of_{variable} = {{{known}}}.get(${variable}.ext, ${variable}.ext)",
            f"    ln -s '${variable}' {variable}.{ending} &&",
            "#end if",
        ]
    lines.append(f'dnamdlm {entry} out={tool.out} threads="\\${{GALAXY_SLOTS:-1}}"')
    for name, value, _ in settings:
        variable = _variable(name)
        if name in tool.inputs:
            lines += [
                f"#if ${variable}", f"    {name}={variable}.$ending_of_{variable}", "#end if",
            ]  # fmt: skip
        else:
            # a setting that has no effect may not be given, even with its default.
            default = "" if value in (None, "???") else _text(value)
            known = f"('', '{default}')"
            lines += [
                f"#if str(${variable}) not in {known}",
                f"    '{name}=${variable}'",
                "#end if",
            ]
    return lines


def _param(name: str, value: Any, note: str, tool: Tool) -> str:
    variable = _variable(name)
    shared = f'name="{variable}" label={quoteattr(name)} help={quoteattr(note)}'
    needed = value == "???"
    if name in tool.inputs:
        optional = "" if needed else ' optional="true"'
        return f'<param type="data" format="{tool.inputs[name]}"{optional} {shared}/>'
    if isinstance(value, bool):
        checked = str(value).lower()
        return (
            f'<param type="boolean" truevalue="true" falsevalue="false" checked="{checked}" '
            f"{shared}/>"
        )
    if isinstance(value, int | float) and name not in _NULLABLE:
        kind = "integer" if isinstance(value, int) else "float"
        return f'<param type="{kind}" value="{value}" optional="true" {shared}/>'
    if needed:
        return f'<param type="text" {shared}>{_BRACKETS}<validator type="empty_field"/></param>'
    shown = "" if value is None else _text(value)
    given = f'<param type="text" value={quoteattr(shown)} optional="true" {shared}>'
    return f"{given}{_BRACKETS}</param>"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _outputs(entry: str, tool: Tool) -> list[str]:
    if Path(tool.out).suffix:
        (kind,) = tool.formats.values()
        return [f'        <data name="out" format="{kind}" from_work_dir="{tool.out}" '
                f'label="dnamdlm {entry} on ${{on_string}}"/>']  # fmt: skip
    found = [f'        <collection name="out" type="list" '
             f'label="dnamdlm {entry} on ${{on_string}}">']  # fmt: skip
    found += [
        f'            <discover_datasets pattern="(?P&lt;designation&gt;.+)\\.{ending}" '
        f'directory="{tool.out}" format="{kind}"/>'
        for ending, kind in tool.formats.items()
    ]
    return [*found, "        </collection>"]


def _test(tool: Tool) -> list[str]:
    head = '<test expect_failure="true">' if tool.found is None else "<test>"
    lines = [f'    <param name="{name}" value="{value}"/>' for name, value in tool.tested.items()]
    if tool.found is not None:
        has = f'<assert_contents><has_text text="{tool.found}"/></assert_contents>'
        if Path(tool.out).suffix:
            lines.append(f'    <output name="out">{has}</output>')
        else:
            kind, name = ("txt", "hub") if tool.out == "tracks" else ("json", "a_10_30.interpret")
            lines += [
                '    <output_collection name="out" type="list">',
                f'        <element name="{name}" ftype="{kind}">{has}</element>',
                "    </output_collection>",
            ]
    return [f"        {line}" for line in (head, *lines, "</test>")]


def _variable(name: str) -> str:
    return name.replace(".", "_")


def _first(about: tuple[str, ...]) -> str:
    """The first sentence of a comment, without its full stop and what an example adds."""
    return " ".join(about).split(". ")[0].split(": ")[0].removesuffix(".")


def main() -> None:
    """Write all tools."""
    for entry in TOOLS:
        path = FOLDER / f"dnamdlm_{entry}.xml"
        path.write_text(tool_xml(entry), encoding="utf-8")


if __name__ == "__main__":
    main()
