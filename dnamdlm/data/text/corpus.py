"""The user's description of a corpus of text, and the opened corpus that serves batches.

A corpus is what `python -m data_prep.text` wrote: token ids, the tokenizer that made them, splits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dnamdlm.data.data_source import OpenData, Unit
from dnamdlm.data.stream import Sweep, TrainingStream
from dnamdlm.data.text.rows import Layout, RowRule, Rows, TextRows
from dnamdlm.data.text.shards import CorpusSplit, read_manifest
from dnamdlm.data.text.tokenizers import tokenizer_of_corpus
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.tokens.text_tokenizer import TextTokenizer, tokenizer_fingerprint
from dnamdlm.tokens.vocabulary import Vocabulary


@dataclass(frozen=True)
class TextData:
    """Settings of the `data` group for text.

    Attributes:
        corpus: folder of a prepared corpus.
        tokenizer: bytes, text8, a folder or a name; None takes the one in the corpus.
        download_command: prepares the corpus, for the message where it is missing; or None.
        cache_dir: folder in which `tokenizers/NAME` is looked for; None takes the default.
        length: tokens per row.
        layout: "packed" cuts the documents, one after another, into blocks; "padded" gives each
            document a row of its own, cut to the length or padded.
        wrap: a packed block begins and ends with the marks of the tokenizer, as in the mdlm code.
        score_marks: marks at the beginning of rows and at the end of blocks are masked and scored
            like text, as in the paper; otherwise they are always visible. The mark at the end of a
            document is scored in either case.

    Raises:
        ConfigError: if a setting is out of range or contradicts another.
    """

    corpus: str
    tokenizer: str | None = None
    download_command: str | None = None
    cache_dir: str | None = None
    length: int = 128
    layout: Layout = "packed"
    wrap: bool = False
    score_marks: bool = True

    def __post_init__(self) -> None:
        if not self.corpus:
            raise ConfigError("data.corpus is empty; give the folder of a prepared corpus")
        if self.length < 3:
            raise ConfigError(f"data.length must be at least 3, got {self.length}")
        if self.layout not in ("packed", "padded"):
            raise ConfigError(f"data.layout must be packed or padded, got {self.layout!r}")
        if self.wrap and self.layout == "padded":
            raise ConfigError(
                "data.wrap=true puts marks around packed blocks, and with data.layout=padded rows "
                "have them already; leave it out"
            )

    def open_tokenizer(self) -> TextTokenizer:
        """The tokenizer.

        Raises:
            DataError: if it is not found.
        """
        return tokenizer_of_corpus(
            Path(self.corpus), self.tokenizer, self.download_command, cache_dir=self.cache_dir
        )

    @property
    def vocabulary(self) -> Vocabulary:
        """That of the tokenizer."""
        return self.open_tokenizer().vocabulary

    def open(self) -> OpenText:
        """Read the manifest, and check that the tokenizer is the one that made the shards.

        Raises:
            ConfigError: if rows need marks that the tokenizer does not have.
            DataError: if corpus or tokenizer are missing, or do not belong together.
        """
        tokenizer = self.open_tokenizer()
        manifest = read_manifest(Path(self.corpus), self.download_command)
        made_by = manifest["tokenizer"]
        if made_by["fingerprint"] != tokenizer_fingerprint(tokenizer):
            raise DataError(
                f"data.corpus={self.corpus} was prepared with the tokenizer {made_by['name']}, "
                f"whose ids are not those of data.tokenizer={tokenizer.name}; prepare it again "
                "with this one, or leave data.tokenizer out"
            )
        if self.wrap and (tokenizer.begin_id is None or tokenizer.end_id is None):
            raise ConfigError(
                "data.wrap=true needs begin and end marks, and the tokenizer "
                f"{tokenizer.name} does not have both; use data.wrap=false"
            )
        return OpenText(self, manifest, tokenizer)


@dataclass(frozen=True)
class OpenText:
    """A prepared corpus with its tokenizer: makes training streams and evaluation rows.

    Attributes:
        settings: what the user asked for.
        manifest: what the preparation wrote down.
        tokenizer: text to ids and back.
    """

    settings: TextData
    manifest: Mapping[str, Any]
    tokenizer: TextTokenizer

    @property
    def unit(self) -> Unit:
        """A token."""
        return "token"

    @property
    def length(self) -> int:
        """Tokens per row."""
        return self.settings.length

    @property
    def label_names(self) -> tuple[str, ...]:
        """Text has no classes."""
        return ()

    @property
    def parts(self) -> Mapping[str, OpenData]:
        """A corpus has no parts."""
        return {}

    def has_split(self, split: str) -> bool:
        """Whether a split holds any token."""
        return split in self.manifest["splits"] and self.split(split).num_tokens > 0

    def split(self, name: str) -> CorpusSplit:
        """The documents of a split.

        Raises:
            DataError: if the corpus has no such split.
        """
        if name not in self.manifest["splits"]:
            raise DataError(
                f"data.corpus={self.settings.corpus} has no {name} split; it has "
                f"{', '.join(self.manifest['splits'])}"
            )
        return CorpusSplit(
            Path(self.settings.corpus),
            self.manifest["splits"][name],
            np.dtype(self.manifest["dtype"]),
        )

    def rule(self, length: int | None = None) -> RowRule:
        """How rows are cut."""
        marked = self.settings.wrap or self.settings.layout == "padded"
        return RowRule(
            length=length or self.length,
            layout=self.settings.layout,
            begin_id=self.tokenizer.begin_id if marked else None,
            end_id=self.tokenizer.end_id if marked else None,
            pad_id=self.tokenizer.vocabulary.pad_id,
            ends_stored=self.tokenizer.end_id is not None,
            score_marks=self.settings.score_marks,
        )

    def training_stream(self, seed: int, global_batch_size: int) -> TrainingStream:
        """Endless training batches, a function of (seed, step).

        Raises:
            DataError: if the train split is shorter than one block.
        """
        rows = Rows(self.split("train"), self.rule(), "train", slide_back=True)
        return TrainingStream(TextRows(rows, seed), global_batch_size)

    def evaluation_windows(
        self, split: str, length: int | None = None, limit: int | None = None, seed: int = 0
    ) -> Sweep[Rows]:
        """Every token of a split once, or `limit` rows spread over it.

        Raises:
            DataError: if the split is empty.
        """
        rows = Rows(self.split(split), self.rule(length), split, slide_back=False)
        return Sweep.over(rows, seed=seed, limit=limit)

    def check_files(self) -> None:
        """Check that the shards of all splits are there, those too that training does not read.

        Raises:
            DataError: naming the first that is missing or does not fit.
        """
        for name in self.manifest["splits"]:
            self.split(name).check()

    def fingerprint(self) -> str:
        """Hash of the tokens and of how they are cut."""
        settings = asdict(self.settings)
        for place in ("corpus", "tokenizer", "download_command", "cache_dir"):
            del settings[place]
        shards = {
            name: [shard["sha256"] for shard in entry["shards"]]
            for name, entry in self.manifest["splits"].items()
        }
        content = [settings, shards, self.manifest["tokenizer"]["fingerprint"]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Facts for a report: source, tokenizer, counts and splits."""
        splits = {name: self.split(name) for name in self.manifest["splits"]}
        return {
            "kind": "text",
            "corpus": self.manifest["name"],
            "fingerprint": self.fingerprint(),
            "source": self.manifest["source"],
            "tokenizer": dict(self.manifest["tokenizer"]),
            "num_tokens": sum(split.num_tokens for split in splits.values()),
            "num_documents": sum(split.num_documents for split in splits.values()),
            "split_rule": self.manifest["split_rule"],
            "splits": {
                name: {
                    "num_tokens": split.num_tokens,
                    "num_documents": split.num_documents,
                    "num_bytes": split.entry["num_bytes"],
                }
                for name, split in splits.items()
            },
        }
