"""Prepare a corpus of text for training: `python -m data_prep.text corpus=wikitext2 out=DIR`.

Documents are brought back to plain text, tokenized and written to memory-mapped shards with a
manifest (`dnamdlm.data.shards`). The folder brings its tokenizer, so training needs no network.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.arguments import run_script
from data_prep.cleaning import CLEANERS, VERSION
from data_prep.sources import UNITS, HubDataset, HubPart, LocalFiles, Source
from data_prep.tokenizing import SHARD_BYTES, make_tasks, run_tasks
from dnamdlm.data.shards import (
    FORMAT,
    FORMAT_VERSION,
    MANIFEST,
    TOKENIZER,
    dtype_for,
    write_atomically,
)
from dnamdlm.data.tokenizers import open_tokenizer
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.tokens.text import TextTokenizer, tokenizer_fingerprint

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
        config=config,
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
        "ag_news",
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
    "processes": "1",
}
USAGE = f"""
python -m data_prep.text corpus=NAME out=DIR [tokenizer=NAME]
python -m data_prep.text files=FILE,... [valid=FILE,...] [test=FILE,...] tokenizer=NAME out=DIR

Tokenizes a public corpus of the Hugging Face hub, or local files, for data=text. The same command
goes on where it was interrupted; the number of processes does not change what is written.

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
  processes       tokenize with so many processes (default 1)
"""


def prepare(
    out: Path, source: Source, *, name: str, tokenizer: TextTokenizer, clean: str, processes: int
) -> dict[str, Any]:
    """Write a corpus, or what is missing of it.

    Args:
        out: its folder.
        source: documents.
        name: for people.
        tokenizer: text to ids.
        clean: a name of `CLEANERS`.
        processes: at least 1.

    Returns:
        The manifest.

    Raises:
        DataError: if the folder holds another corpus, or there is no document.
    """
    fingerprint = tokenizer_fingerprint(tokenizer)
    inputs = [source.identity(), fingerprint, clean, VERSION, FORMAT_VERSION, SHARD_BYTES]
    key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode("ascii")).hexdigest()
    state = out / "inputs.json"
    # a command that failed before it wrote any text leaves nothing that is worth keeping.
    is_begun = (out / MANIFEST).is_file() or any(out.glob("*.bin"))
    if is_begun and json.loads(state.read_text(encoding="ascii"))["key"] != key:
        raise DataError(f"out={out} holds another corpus or another version of it; choose another")
    if (out / MANIFEST).is_file():
        return dict(json.loads((out / MANIFEST).read_text(encoding="utf-8")))
    (out / TOKENIZER).mkdir(parents=True, exist_ok=True)
    for file, content in tokenizer.files().items():
        write_atomically(out / TOKENIZER / file, content)
    write_atomically(state, json.dumps({"key": key, "inputs": inputs}).encode("ascii"))
    tasks = make_tasks(out, source.splits(), cleaner=clean, tokenizer=tokenizer.name, key=key)
    splits: dict[str, Any] = {}
    for entry in run_tasks(tasks, processes):
        kept = splits.setdefault(entry["stem"].rpartition("_")[0], {"num_bytes": 0, "shards": []})
        kept["num_bytes"] += entry["num_bytes"]
        kept["shards"].append({key: entry[key] for key in entry if key not in ("key", "num_bytes")})
    if not any(shard["num_tokens"] for part in splits.values() for shard in part["shards"]):
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
        "splits": splits,
    }
    write_atomically(out / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode("ascii"))
    return manifest


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
    source = _source(settings, known)
    manifest = prepare(
        out,
        source,
        name=name if name != "none" else settings["files"],
        tokenizer=tokenizer,
        clean=clean,
        processes=int(processes),
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


def _paths(text: str) -> tuple[Path, ...]:
    return () if text == "none" else tuple(map(Path, text.strip("[]").split(",")))


def _number(settings: dict[str, str], key: str, kind: type[int] | type[float]) -> float:
    try:
        return kind(settings[key])
    except ValueError as error:
        raise ConfigError(f"{key}={settings[key]} is no number") from error


if __name__ == "__main__":
    sys.exit(main())
