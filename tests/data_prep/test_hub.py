"""Public corpora through the real package datasets, from a hub on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dnamdlm.data.text.corpus import TextData
from tests.helpers.hub import serving

pytest.importorskip("datasets")

_THREE = ("train", "validation", "test")
_WIKITEXT = "\n".join(
    [
        "---",
        "configs:",
        *(
            f"- config_name: wikitext-{size}-raw-v1\n  data_files:\n"
            + "\n".join(
                f"  - split: {split}\n    path: wikitext-{size}-raw-v1/{split}-*"
                for split in _THREE
            )
            for size in ("2", "103")
        ),
        "---",
        "",
    ]
)
# many corpora in one process, which takes seconds to import the packages.
_SCRIPT = """
import sys
from data_prep.text import main
out, *names = sys.argv[1:]
for name in names:
    name, _, more = name.partition("+")
    status = main([f"corpus={name}", f"out={out}/{name}", "tokenizer=bytes", *more.split()])
    assert status == 0, name
"""


def table(path, field, texts):
    from pyarrow import parquet
    from pyarrow import table as columns

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(columns({field: texts}), path)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The public data sets as the hub has them, with other texts."""
    root = tmp_path_factory.mktemp("hub")
    wikitext = root / "Salesforce/wikitext/main"
    for split in _THREE:
        for size in ("2", "103"):
            table(
                wikitext / f"wikitext-{size}-raw-v1/{split}-00000-of-00001.parquet",
                "text",
                ["", f" = {split} {size} = \n", " It isn 't so . \n"],
            )
        for name in ("pubmed", "arxiv"):
            # of a large data set the hub converts only a part.
            folder = "partial-train" if (name, split) == ("arxiv", "train") else split
            table(
                root / f"armanc/scientific_papers/parquet/{name}/{folder}/0000.parquet",
                "article",
                [f"{name} {split} ( see [ 1 ] ) ."],
            )
        table(
            root / f"ptb-text-only/ptb_text_only/parquet/penn_treebank/{split}/0000.parquet",
            "sentence",
            [f"{split} rose N to <unk>"],
        )
    (wikitext / "README.md").write_text(_WIKITEXT)
    for name, field, rows in (
        ("dvruette/lm1b", "text", {"train": 10_005, "test": 3}),
        ("Skylion007/openwebtext", "text", {"train": 100_002}),
        ("EleutherAI/lambada_openai", "text", {"test": 2}),
        ("fancyzhx/ag_news", "text", {"train": 4, "test": 2}),
    ):
        for split, count in rows.items():
            table(
                root / name / f"main/data/{split}-00000-of-00001.parquet",
                field,
                [f"{split} {i}" for i in range(count)],
            )
    table(root / "empty/set/main/data/train-00000-of-00001.parquet", "words", ["a"])
    return root


@pytest.fixture
def home(tmp_path):
    """Environment with an empty cache of the hub."""
    return os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1",
                         "HF_HUB_OFFLINE": "0"}  # fmt: skip


def run(script, *arguments, environment):
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[2],
        check=False,
        timeout=300,
    )


def texts(folder, split):
    opened = TextData(str(folder), length=4).open()
    part = opened.split(split)
    return opened.tokenizer.decode(part.read(0, part.num_tokens)).split("[END]")[:-1]


@pytest.mark.slow
def test_the_public_corpora_come_from_the_hub_and_then_from_its_cache(root, home, tmp_path):
    out = tmp_path / "out"
    names = ["wikitext2", "wikitext103", "pubmed", "arxiv", "ptb", "lambada", "ag_news", "lm1b",
             "openwebtext+splits=valid"]  # fmt: skip
    with serving(root) as address:
        ran = run(_SCRIPT, out, *names, environment=home | {"HF_ENDPOINT": address})
    assert ran.returncode == 0, ran.stderr
    assert texts(out / "wikitext2", "valid") == ["= validation 2 =", "It isn't so."]
    assert texts(out / "wikitext103", "test")[0] == "= test 103 ="
    assert texts(out / "pubmed", "train") == ["pubmed train (see [1])."]
    assert texts(out / "arxiv", "train") == ["arxiv train (see [1])."]
    assert texts(out / "ptb", "test") == ["test rose 1 to ?"]
    assert texts(out / "lambada", "test") == ["\ntest 0", "\ntest 1"]
    assert len(texts(out / "ag_news", "train")) == 4
    assert texts(out / "lm1b", "train") == [f"train {i}" for i in range(5)]
    assert len(texts(out / "lm1b", "valid")) == 10_000
    assert texts(out / "openwebtext", "valid")[0] == "train 2"
    manifest = json.loads((out / "openwebtext" / "manifest.json").read_text())
    assert list(manifest["splits"]) == ["valid"]
    assert len(manifest["source"]["commit"]) == 40
    # the hub is gone; what is in its cache is enough for another folder.
    again = run(
        _SCRIPT, tmp_path / "again", "wikitext2", environment=home | {"HF_HUB_OFFLINE": "1"}
    )
    assert again.returncode == 0, again.stderr
    assert texts(tmp_path / "again" / "wikitext2", "test") == ["= test 2 =", "It isn't so."]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["no server", "offline", "unknown"])
def test_what_the_hub_does_not_give_is_one_sentence(fault, root, home, tmp_path):
    with serving(root if fault == "offline" else tmp_path) as address:
        pass
    script = _SCRIPT.replace("assert status == 0, name", "sys.exit(status)")
    environment = home | {"HF_ENDPOINT": address}
    if fault == "offline":
        environment |= {"HF_HUB_OFFLINE": "1"}
    if fault == "unknown":
        with serving(tmp_path) as address:
            ran = run(script, tmp_path / "out", "ptb", environment=home | {"HF_ENDPOINT": address})
    else:
        ran = run(script, tmp_path / "out", "ptb", environment=environment)
    assert ran.returncode == 2, ran.stderr
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("error: the Hugging Face hub does not give ptb-text-only/ptb_text_only")
    assert f"there is no copy in {tmp_path / 'home' / 'hub'}; run this command on a" in last
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


_TEXT8 = """
import sys
from data_prep.sources import HubDataset, HubPart
source = HubDataset("fancyzhx/ag_news", {"train": HubPart("train")}, characters=(4, 6))
print({name: "".join(texts) for name, texts in source.splits().items()})
list(HubDataset("empty/set", {"train": HubPart("train")}).splits()["train"])
"""


@pytest.mark.slow
def test_text8_is_cut_by_characters_and_a_missing_column_is_named(root, home):
    with serving(root) as address:
        ran = run(_TEXT8, environment=home | {"HF_ENDPOINT": address})
    assert ran.stdout.startswith("{'train': 'trai', 'valid': 'n ', 'test': '0train 1")
    assert "empty/set has no column 'text', but words" in ran.stderr.splitlines()[-1]
