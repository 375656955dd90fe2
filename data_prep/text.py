"""Prepare a corpus of text for training: `python -m data_prep.text corpus=wikitext2 out=DIR`.

Documents are brought back to plain text, tokenized and written to memory-mapped shards with a
manifest (`dnamdlm.data.text.shards`). The folder has its tokenizer, so training needs no network.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.arguments import run_script
from data_prep.cleaning import CLEANERS, VERSION
from data_prep.sources import SPLITS, UNITS, HubDataset, HubPart, LocalFiles, Source
from data_prep.tokenizing import SHARD_BYTES, make_tasks, run_tasks
from dnamdlm.data.files import write_bytes
from dnamdlm.data.targets import clash
from dnamdlm.data.text.shards import (
    FORMAT,
    FORMAT_VERSION,
    MANIFEST,
    TOKENIZER,
    dtype_for,
    is_intact,
    read_manifest,
)
from dnamdlm.data.text.tokenizers import open_tokenizer
from dnamdlm.errors import ConfigError, DataError, DnamdlmError
from dnamdlm.tokens.text_tokenizer import TextTokenizer, tokenizer_fingerprint

_INPUTS = "inputs.json"
_CONVERTED = "refs/convert/parquet"
_BERT, _GPT2 = "bert-base-uncased", "gpt2"


@dataclass(frozen=True)
class Corpus:
    """A public data set, with the cleaner and the tokenizer that the literature takes."""

    source: HubDataset
    clean: str
    tokenizer: str


def _split_in_three(valid: str = "validation") -> dict[str, HubPart]:
    return {"train": HubPart("train"), "valid": HubPart(valid), "test": HubPart("test")}


def _wikitext(config: str) -> HubDataset:
    return HubDataset("Salesforce/wikitext", _split_in_three(), config=config)


def _papers(config: str) -> HubDataset:
    return HubDataset(
        "armanc/scientific_papers",
        _split_in_three(),
        folder=config,
        field="article",
        revision=_CONVERTED,
    )


CORPORA: dict[str, Corpus] = {
    "lm1b": Corpus(
        HubDataset(
            "dvruette/lm1b",
            {
                "train": HubPart("train", None, -10_000),
                "valid": HubPart("train", -10_000, None),
                "test": HubPart("test"),
            },
        ),
        "lm1b",
        _BERT,
    ),
    "openwebtext": Corpus(
        HubDataset(
            "Skylion007/openwebtext",
            {
                "train": HubPart("train", None, -100_000),
                "valid": HubPart("train", -100_000, None),
            },
        ),
        "plain",
        _GPT2,
    ),
    "text8": Corpus(
        HubDataset("afmck/text8", _split_in_three(), characters=(90_000_000, 95_000_000)),
        "plain",
        "text8",
    ),
    "wikitext2": Corpus(_wikitext("wikitext-2-raw-v1"), "wikitext", _GPT2),
    "wikitext103": Corpus(_wikitext("wikitext-103-raw-v1"), "wikitext", _GPT2),
    "ptb": Corpus(
        HubDataset(
            "ptb-text-only/ptb_text_only",
            _split_in_three(),
            field="sentence",
            revision=_CONVERTED,
        ),
        "ptb",
        _GPT2,
    ),
    "lambada": Corpus(
        HubDataset("EleutherAI/lambada_openai", {"test": HubPart("test")}), "lambada", _GPT2
    ),
    "ag_news": Corpus(
        HubDataset("fancyzhx/ag_news", {"train": HubPart("train"), "test": HubPart("test")}),
        "plain",
        _GPT2,
    ),
    "pubmed": Corpus(_papers("pubmed"), "scientific_papers", _GPT2),
    "arxiv": Corpus(_papers("arxiv"), "scientific_papers", _GPT2),
}
"""Public corpora by name."""

DEFAULTS: dict[str, str | None] = {
    "out": None,
    "corpus": "none",
    "files": "none",
    "valid": "none",
    "test": "none",
    "tokenizer": "default",
    "clean": "default",
    "unit": "line",
    "field": "text",
    "valid_fraction": "0.05",
    "test_fraction": "0.05",
    "splits": ",".join(SPLITS),
    "processes": "1",
}
_OF_FILES = ("valid", "test", "unit", "field", "valid_fraction", "test_fraction")
USAGE = f"""
python -m data_prep.text corpus=NAME out=DIR [tokenizer=NAME]
python -m data_prep.text files=FILE,... [valid=FILE,...] [test=FILE,...] tokenizer=NAME out=DIR

Tokenizes a public corpus of the Hugging Face hub, or local files, for data=text. The same command
resumes where it was interrupted; the number of processes does not change what is written.

  out             folder for the corpus
  corpus          {", ".join(list(CORPORA)[:5])},
                  {", ".join(list(CORPORA)[5:])}
                  with files=, only its cleaner and tokenizer are taken
  files           text, .jsonl or .parquet files, divided by commas
  valid, test     files that are held out; without them, the end of files
  tokenizer       bytes, text8, bert-base-uncased, gpt2, any hub id, or a folder with
                  tokenizer.json, vocab.json and merges.txt, or vocab.txt; default: that of the
                  corpus, or bytes
  clean           {", ".join(CLEANERS)}; default: that of the
                  corpus, or plain
  unit            what a document of a text file is: {", ".join(UNITS)} (default line); if there
                  is only one document, it is cut into the splits
  field           text of .jsonl and .parquet files (default text)
  valid_fraction  share held out where valid= is not given (default 0.05)
  test_fraction   share held out where test= is not given (default 0.05)
  splits          which of {", ".join(SPLITS)} are prepared (default all that there are);
                  splits=test is enough for zero-shot perplexity
  processes       tokenize with so many processes (default 1)
"""


def prepare(
    out: Path,
    source: Source,
    *,
    name: str,
    tokenizer: TextTokenizer,
    clean: str,
    processes: int,
    splits: Sequence[str] = SPLITS,
) -> dict[str, Any]:
    """Write a corpus, or what is missing or damaged of it; a mistake leaves no folder behind.

    Args:
        out: its folder.
        source: documents.
        name: for people.
        tokenizer: text to ids.
        clean: a name of `CLEANERS`.
        processes: at least 1.
        splits: which splits are prepared, of those that there are.

    Returns:
        The manifest.

    Raises:
        DataError: if the folder holds another corpus, or there is no document.
    """
    fingerprint = tokenizer_fingerprint(tokenizer)
    inputs = [
        source.identity(), sorted(splits), fingerprint, clean, VERSION, FORMAT_VERSION, SHARD_BYTES,
    ]  # fmt: skip
    key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode("ascii")).hexdigest()
    _check_folder(out, key)
    if (manifest := _complete(out)) is not None:
        return manifest
    with _forgotten_if_empty(out):
        for file, content in tokenizer.files().items():
            write_bytes(out / TOKENIZER / file, content)
        write_bytes(out / _INPUTS, json.dumps({"key": key, "inputs": inputs}).encode("ascii"))
        texts = {split: part for split, part in source.splits().items() if split in splits}
        tasks = make_tasks(out, texts, cleaner=clean, tokenizer=tokenizer.name, key=key)
        entries: dict[str, Any] = {}
        for entry in run_tasks(tasks, processes):
            kept = entries.setdefault(
                entry["stem"].rpartition("_")[0], {"num_bytes": 0, "shards": []}
            )
            kept["num_bytes"] += entry["num_bytes"]
            kept["shards"].append(
                {key: entry[key] for key in entry if key not in ("key", "num_bytes")}
            )
        if not any(shard["num_tokens"] for part in entries.values() for shard in part["shards"]):
            raise DataError("there is no text in the source; name files that hold some")
    manifest = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "name": name,
        "key": key,
        "source": source.identity(),
        "split_rule": source.rule,
        "clean": clean,
        "tokenizer": {
            "name": tokenizer.name,
            "fingerprint": fingerprint,
            "vocabulary": tokenizer.vocabulary.fingerprint(),
        },
        "dtype": dtype_for(len(tokenizer.vocabulary)).str,
        "splits": entries,
    }
    write_bytes(out / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode("ascii"))
    return manifest


def _check_folder(out: Path, key: str) -> None:
    """Refuse a folder with anything but this corpus, or a part of it."""
    if out.is_file():
        raise DataError(f"out={out} is a file; name a folder")
    # a command that failed before it wrote any text leaves nothing that is worth keeping.
    if not ((out / MANIFEST).is_file() or any(out.glob("*.bin"))):
        return
    try:
        found = json.loads((out / _INPUTS).read_text(encoding="utf-8"))["key"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"out={out} holds something else than a corpus of text, or {_INPUTS} in it is damaged; "
            "choose another folder"
        ) from error
    if found != key:
        raise DataError(f"out={out} holds another corpus or another version of it; choose another")


def _complete(out: Path) -> dict[str, Any] | None:
    """The manifest, if all shards are what it says; else it goes, so that they are made again."""
    if not (out / MANIFEST).is_file():
        return None
    try:
        manifest = read_manifest(out)
        shards = [shard for part in manifest["splits"].values() for shard in part["shards"]]
    except (DataError, KeyError) as error:
        print(f"{error}; it is made again", file=sys.stderr)
    else:
        damaged = [shard["stem"] for shard in shards if not is_intact(out, shard)]
        if not damaged:
            return manifest
        print(f"{out}: {', '.join(damaged)} missing or damaged, made again", file=sys.stderr)
    (out / MANIFEST).unlink()
    return None


@contextlib.contextmanager
def _forgotten_if_empty(out: Path) -> Iterator[None]:
    """Make the folder; take it away again if nothing was written for good."""
    new = next((path for path in (out, out / TOKENIZER) if not path.exists()), None)
    try:
        (out / TOKENIZER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"out={out} cannot be made ({error.strerror}); choose another") from error
    try:
        yield
    except (DnamdlmError, KeyboardInterrupt):
        shards = [path for split in SPLITS for path in out.glob(f"{split}_{'[0-9]' * 5}.*")]
        if not any(path.stat().st_size for path in shards if path.suffix == ".bin"):
            for path in (*shards, out / _INPUTS):
                path.unlink(missing_ok=True)
            if new is not None:
                shutil.rmtree(new)
        raise


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_script(_body, usage=USAGE, defaults=DEFAULTS, arguments=arguments)


def _body(settings: dict[str, str]) -> str:
    out, name = Path(settings["out"]), settings["corpus"]
    if name != "none" and name not in CORPORA:
        raise ConfigError(f"corpus={name} is unknown; choose {', '.join(CORPORA)}, or give files=")
    if name == "none" and settings["files"] == "none":
        raise ConfigError("neither corpus nor files is given; give one of them, see --help")
    known = CORPORA.get(name)
    clean = settings["clean"]
    if clean == "default":
        clean = known.clean if known else "plain"
    if clean not in CLEANERS:
        raise ConfigError(f"clean={clean} is unknown; choose {', '.join(CLEANERS)}")
    wanted = settings["tokenizer"]
    if wanted == "default":
        wanted = known.tokenizer if known else "bytes"
    processes = _number(settings, "processes", int)
    if processes < 1:
        raise ConfigError(f"processes={processes} must be at least 1")
    tokenizer = open_tokenizer(wanted)
    _check_inputs(out, settings)
    source = _source(settings, known)
    manifest = prepare(
        out,
        source,
        name=name if name != "none" else settings["files"],
        tokenizer=tokenizer,
        clean=clean,
        processes=int(processes),
        splits=_splits(settings["splits"]),
    )
    counts = ", ".join(
        f"{split} {sum(shard['num_tokens'] for shard in part['shards']):,} tokens"
        for split, part in manifest["splits"].items()
    )
    return (
        f"{out} holds {counts}; train with: python -m dnamdlm.train config=text data.corpus={out}"
    )


def _source(settings: dict[str, str], known: Corpus | None) -> Source:
    if settings["files"] == "none":
        assert known is not None
        for key in _OF_FILES:
            if settings[key] != DEFAULTS[key]:
                raise ConfigError(
                    f"{key}={settings[key]} is for local files, and corpus={settings['corpus']} "
                    "comes from the hub; leave it out, or give files="
                )
        return known.source
    files, valid, test = (_paths(settings[key]) for key in ("files", "valid", "test"))
    return LocalFiles(
        files,
        valid,
        test,
        unit=settings["unit"],
        field=settings["field"],
        valid_fraction=_number(settings, "valid_fraction", float),
        test_fraction=_number(settings, "test_fraction", float),
    )


def _check_inputs(out: Path, settings: dict[str, str]) -> None:
    """Refuse an output folder whose files are among the inputs."""
    inputs = [path for key in ("files", "valid", "test") for path in _paths(settings[key])]
    shards = [path for split in SPLITS for path in out.glob(f"{split}_{'[0-9]' * 5}.*")]
    for own in (out / MANIFEST, out / _INPUTS, *shards):
        if (found := clash(own, inputs)) is not None:
            raise ConfigError(f"out={out} would write over the input {found}; choose another out")


def _paths(text: str) -> tuple[Path, ...]:
    if text == "none":
        return ()
    return tuple(Path(name.strip()) for name in text.strip("[]").split(","))


def _splits(text: str) -> tuple[str, ...]:
    wanted = tuple(name.strip() for name in text.strip("[]").split(","))
    if unknown := set(wanted) - set(SPLITS):
        raise ConfigError(f"splits={text} names {min(unknown)!r}; choose {', '.join(SPLITS)}")
    return wanted


def _number(settings: dict[str, str], key: str, kind: type[int] | type[float]) -> float:
    try:
        return kind(settings[key])
    except ValueError as error:
        raise ConfigError(f"{key}={settings[key]} is not a number") from error


if __name__ == "__main__":
    sys.exit(main())
