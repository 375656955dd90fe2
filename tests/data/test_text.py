"""Prepared text: shards, rows, order, and the mistakes that can be made with them."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import types
from dataclasses import replace

import numpy as np
import pytest
import torch

from data_prep.text import main
from dnamdlm.data.data_source import DataSource, source_of
from dnamdlm.data.stream import Sweep
from dnamdlm.data.text.corpus import TextData
from dnamdlm.data.text.rows import RowRule, Rows
from dnamdlm.data.text.shards import CorpusSplit, dtype_for, write_shard
from dnamdlm.data.text.tokenizers import open_tokenizer
from dnamdlm.errors import ConfigError, DataError

DOCUMENTS = [[1, 2, 3, 9], [4, 9], [5, 6, 7, 8, 9], [1, 9]]


@pytest.fixture
def split(tmp_path):
    """Eleven tokens, 9 at each end, in two shards."""
    arrays = [np.array(document) for document in DOCUMENTS]
    entries = [
        write_shard(tmp_path, f"train_{i:05d}", part, dtype_for(12))
        for i, part in enumerate((arrays[:2], arrays[2:]))
    ]
    return CorpusSplit(tmp_path, {"shards": entries, "num_bytes": 20}, dtype_for(12))


RULE = RowRule(5, "packed", None, None, 11, True, True)


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "lines.txt").write_text("".join(f"line {i} of text\n" for i in range(200)))
    assert main([f"files={tmp_path / 'lines.txt'}", f"out={tmp_path / 'corpus'}"]) == 0
    return tmp_path / "corpus"


def test_reading_crosses_shards(split):
    whole = [token for document in DOCUMENTS for token in document]
    for start in range(len(whole) + 1):
        for end in range(start, len(whole) + 1):
            assert split.read(start, end).tolist() == whole[start:end]
    assert split.document_ends.tolist() == [4, 6, 11, 13]
    assert (split.num_tokens, split.num_documents) == (13, 4)


def test_evaluation_blocks_hold_every_token_once(split):
    windows = Sweep.over(Rows(split, RULE, "train", slide_back=False))
    batches = list(windows.batches(2))
    tokens = torch.cat([batch.tokens for batch in batches])
    valid = torch.cat([batch.valid for batch in batches])
    assert tokens[valid].tolist() == split.read(0, 13).tolist()
    assert tokens[~valid].tolist() == [11, 11]
    assert torch.equal(valid, torch.cat([batch.present for batch in batches]))
    assert sorted(torch.cat([batch.row for batch in batches]).tolist()) == [0, 1, 2]


def test_training_blocks_are_full(split):
    rows = Rows(split, RULE, "train", slide_back=True)
    batch = rows.batch(np.arange(3), np.zeros(3, np.int64), np.arange(3), 3)
    assert batch.full
    assert batch.tokens[2].tolist() == split.read(8, 13).tolist()


@pytest.mark.parametrize("score", [True, False])
def test_wrapped_blocks_have_marks_around_them(split, score):
    rule = replace(RULE, begin_id=10, end_id=9, score_marks=score)
    rows = Rows(split, rule, "train", slide_back=False)
    batch = rows.batch(np.array([0, 4]), np.zeros(2, np.int64), np.arange(2), 2)
    assert batch.tokens.tolist() == [[10, 1, 2, 3, 9], [10, 9, 9, 11, 11]]
    assert batch.valid[0].tolist() == [score, True, True, True, score]


def test_padded_rows_hold_one_document_each_and_cut_long_ones(split):
    rule = replace(RULE, layout="padded", begin_id=10, end_id=9, score_marks=False)
    rows = Rows(split, rule, "train", slide_back=False)
    batch = rows.batch(np.arange(4), np.zeros(4, np.int64), np.arange(4), 4)
    assert batch.tokens.tolist() == [
        [10, 1, 2, 3, 9],
        [10, 4, 9, 11, 11],
        [10, 5, 6, 7, 9],
        [10, 1, 9, 11, 11],
    ]
    assert batch.present.sum(dim=1).tolist() == [5, 3, 5, 3]
    assert batch.valid.sum(dim=1).tolist() == [4, 2, 4, 2]


def test_the_batch_of_a_step_does_not_depend_on_ranks_and_micro_steps(corpus):
    stream = TextData(str(corpus), length=16).open().training_stream(3, 8)
    whole = stream.batch(5)
    parts = [
        stream.batch(5, rank=rank, world_size=2, micro_step=micro, num_micro_steps=2)
        for rank in range(2)
        for micro in range(2)
    ]
    for name in ("tokens", "key", "row"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))
    assert not torch.equal(stream.batch(6).tokens, whole.tokens)


def test_an_epoch_holds_every_block_once(corpus):
    opened = TextData(str(corpus), length=16).open()
    stream = opened.training_stream(1, 1)
    count = len(stream.source.rows)
    starts = {int(stream.batch(step).start) for step in range(count)}
    assert len(starts) == count


def test_a_corpus_is_a_data_source(corpus):
    source = TextData(str(corpus), length=16)
    opened = source.open()
    assert isinstance(source, DataSource)
    assert opened.has_split("valid")
    assert not opened.has_split("other")
    text = "".join(f"line {i} of text" for i in range(180))
    assert opened.split("train").num_tokens == len(text) + 180
    assert opened.fingerprint() == TextData(str(corpus), length=16).open().fingerprint()
    assert opened.fingerprint() != TextData(str(corpus), length=17).open().fingerprint()
    described = json.loads(json.dumps(opened.describe()))
    assert described["num_tokens"] == sum(
        part["num_tokens"] for part in described["splits"].values()
    )
    assert described["splits"]["train"]["num_tokens"] == len(text) + 180
    assert described["splits"]["train"]["num_documents"] == 180
    assert source_of(described) == described["corpus"]
    # text has neither bases nor a FASTA file.
    assert not {"fasta", "num_bases"} & {*described, *described["splits"]["train"]}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"length": 2}, "data.length must be at least 3"),
        ({"layout": "loose"}, "data.layout must be packed or padded"),
        ({"layout": "padded", "wrap": True}, "leave it out"),
        ({"corpus": ""}, "data.corpus is empty"),
    ],
)
def test_settings_are_checked(setting, message):
    with pytest.raises(ConfigError, match=message):
        TextData(**{"corpus": "x", **setting})


def test_another_tokenizer_than_that_of_the_shards_is_refused(corpus):
    with pytest.raises(DataError, match="was prepared with the tokenizer bytes"):
        TextData(str(corpus), tokenizer="text8").open()


def test_a_cut_shard_is_named(corpus):
    shard = corpus / "train_00000.bin"
    shard.write_bytes(shard.read_bytes()[:-2])
    with pytest.raises(DataError, match=r"train_00000\.bin has .* bytes, but the manifest says"):
        TextData(str(corpus), length=16).open().training_stream(1, 1).batch(0)


def test_a_missing_corpus_names_folder_and_command(tmp_path):
    with pytest.raises(DataError, match=r"nothing/manifest\.json\); .* prepares it: 'make it'"):
        TextData(str(tmp_path / "nothing"), download_command="make it").open()


def test_an_unknown_tokenizer_names_where_it_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=rf"nor in {tmp_path}/tokenizers/none, .* hf download none"):
        open_tokenizer("none", cache_dir=tmp_path)


def test_a_hub_without_network_names_the_command_and_the_folder(tmp_path, monkeypatch):
    class Refused(OSError):
        """Stands for every error of the hub."""

    def fetch(name, allow_patterns):
        raise Refused(f"no network for {name}")

    hub = types.ModuleType("huggingface_hub")
    hub.snapshot_download = fetch
    hub.errors = types.SimpleNamespace(
        HfHubHTTPError=Refused, LocalEntryNotFoundError=Refused, HFValidationError=Refused
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: hub)
    folder = f"{tmp_path}/tokenizers/gpt2"
    with pytest.raises(DataError) as error:
        open_tokenizer("gpt2", cache_dir=tmp_path)
    assert "(no network for gpt2)" in str(error.value)
    assert f"nor in {folder}" in str(error.value)
    assert f"--local-dir {folder}" in str(error.value)


def test_a_hub_that_hangs_up_is_one_sentence(tmp_path):
    pytest.importorskip("huggingface_hub")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"

        def hang_up():
            for _ in range(9):
                with contextlib.suppress(OSError):
                    server.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        # the packages read the address when they are imported.
        script = "from dnamdlm.data.text.tokenizers import open_tokenizer; open_tokenizer('gpt2')"
        ran = subprocess.run(
            [sys.executable, "-c", script],
            check=False,
            capture_output=True,
            text=True,
            env=os.environ
            | {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
            | {"DNAMDLM_CACHE_DIR": str(tmp_path)},
        )
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("dnamdlm.errors.DataError: tokenizer=gpt2 is neither")
    assert "it cannot be downloaded from the Hugging Face hub" in last
