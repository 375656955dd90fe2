"""Documents to shards, with several processes: the same files whatever their number.

Documents are dealt into tasks of about `SHARD_BYTES` of text, one shard each, in the order of the
source. A finished shard leaves a note with the key of the corpus, so that the same command resumes
where it was; the manifest is written last.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.cleaning import CLEANERS
from dnamdlm.data.files import write_bytes
from dnamdlm.data.text.shards import dtype_for, is_intact, write_shard
from dnamdlm.data.text.tokenizers import stored_tokenizer
from dnamdlm.errors import DataError
from dnamdlm.tokens.text_tokenizer import TextTokenizer

SHARD_BYTES = 1 << 23


@dataclass(frozen=True)
class Task:
    """One shard to make: documents, where they go, and how they are read.

    Attributes:
        folder: of the corpus.
        stem: of the shard.
        texts: documents.
        cleaner: a name of `CLEANERS`.
        tokenizer: a built-in name, or the folder of the corpus has it.
        key: of the corpus.
    """

    folder: Path
    stem: str
    texts: tuple[str, ...]
    cleaner: str
    tokenizer: str
    key: str

    @property
    def note(self) -> Path:
        """Says that the shard is complete, and what is in it."""
        return self.folder / f"{self.stem}.json"

    def done(self) -> dict[str, Any] | None:
        """The entry of a shard that is there and intact, or None."""
        try:
            entry = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return entry if entry["key"] == self.key and is_intact(self.folder, entry) else None

    def run(self) -> dict[str, Any]:
        """Clean, tokenize and write; documents without a token are left out."""
        tokenizer = _opened(self.folder, self.tokenizer, self.key)
        cleaned = [CLEANERS[self.cleaner](text) for text in self.texts]
        kept = [text for text in cleaned if text]
        end = np.array([] if tokenizer.end_id is None else [tokenizer.end_id], dtype=np.int64)
        rows = []
        num_bytes = 0
        for text, ids in zip(kept, tokenizer.encode_all(kept), strict=True):
            if len(ids):
                rows.append(np.concatenate([ids, end]))
                num_bytes += len(text.encode("utf-8"))
        entry = write_shard(self.folder, self.stem, rows, dtype_for(len(tokenizer.vocabulary)))
        entry |= {"num_bytes": num_bytes, "key": self.key}
        write_bytes(self.note, json.dumps(entry).encode("ascii"))
        return entry


def make_tasks(
    folder: Path,
    splits: Mapping[str, Iterable[str]],
    *,
    cleaner: str,
    tokenizer: str,
    key: str,
    shard_bytes: int = SHARD_BYTES,
) -> Iterator[Task]:
    """Tasks in the order of the documents; none mixes splits."""
    for split, texts in splits.items():
        number, held, size = 0, [], 0
        for text in texts:
            held.append(text)
            size += len(text)
            if size >= shard_bytes:
                yield Task(folder, f"{split}_{number:05d}", tuple(held), cleaner, tokenizer, key)
                number, held, size = number + 1, [], 0
        if held:
            yield Task(folder, f"{split}_{number:05d}", tuple(held), cleaner, tokenizer, key)


def run_tasks(tasks: Iterable[Task], processes: int) -> Iterator[dict[str, Any]]:
    """The entries of all shards in order; few tasks are held at once.

    Args:
        tasks: what is to be done.
        processes: 1 works in this process.

    Raises:
        DataError: if a process was killed.
    """
    if processes == 1:
        for task in tasks:
            yield task.done() or task.run()
        return
    context = multiprocessing.get_context("spawn")
    waiting: deque[dict[str, Any] | Future[dict[str, Any]]] = deque()
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_end_with, initargs=(os.getpid(),)
    ) as pool:
        try:
            for task in tasks:
                waiting.append(task.done() or pool.submit(task.run))
                if len(waiting) > 2 * processes:
                    yield _entry(waiting.popleft())
            while waiting:
                yield _entry(waiting.popleft())
        except BrokenProcessPool as error:
            raise DataError(
                "a process that tokenized was killed, perhaps for want of memory; the same "
                "command goes on where it was, with fewer processes= if need be"
            ) from error


@functools.lru_cache(maxsize=1)
def _opened(corpus: Path, name: str, key: str) -> TextTokenizer:
    """The tokenizer of a corpus, read once per process."""
    del key  # another corpus may have lain in the same folder
    return stored_tokenizer(corpus, name)


def _end_with(parent: int) -> None:
    """Let a process end when the one that started it is gone, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _entry(item: dict[str, Any] | Future[dict[str, Any]]) -> dict[str, Any]:
    return item.result() if isinstance(item, Future) else item
