"""Every setting that names a file, with a command that reads it, and what such a command may do."""

import hashlib
import json
import os
import re
import shutil

from tests.entries.broken_files import GOOD, broken, put
from tests.entries.commands import SHORT

GENOMES = (".fa", ".fa.gz", ".2bit")
TABLES = (".csv", ".tsv", ".parquet")

_MODEL = "model=run"
_TINY = ("train", "config=tiny", "dry_run=true", "run_dir={out}/r")
_OWN = (*_TINY, "data.fasta=good.fa", "data.annotation=null", "data.valid=[b]", "data.test=[c]")
_EVALUATE = ("evaluate", _MODEL, "limit=4", "max_order=1", "out={out}/o.json")
_HELD_OUT = ("data.train=[a]", "data.valid=[b]", "data.test=[c]")
_GENOME = ("data.fasta=good.fa", *_HELD_OUT)
_SAMPLE = ("sample", _MODEL, "num_sequences=1", "length=64", "out={out}/o.fa")
_DESIGN = ("design", _MODEL, "reward=[{{motif:TATA}}]", "num_sequences=1", "likelihood_draws=0",
           "sampler.num_steps=4", "out={out}/o.fa")  # fmt: skip
_JUDGE = ("judge", "samples={file}", "reference=good.fa", "out={out}/o.json")
_TABLE = ("finetune", "config=table", _MODEL, "run_dir={out}/r", "baselines=[]", "seeds=1",
          "bootstrap=0", "method=probe", "training.epochs=1")  # fmt: skip
_SCORE = ("score", _MODEL, "scores=[llr]", "out={out}/o.tsv")
_LOCUS = ("tracks", _MODEL, "locus=a:100-200", "max_order=0", "out={out}/o.tsv")
_EMBED = ("embed", _MODEL, "out={out}/o.npz")
_PREDICT = ("predict", "model=ft", "out={out}/o.tsv")


def within(source, name):
    """What puts a copy of a folder in place of a file, one file of which is broken.

    Where the copy has a manifest of sizes and hashes, it is that of the broken file.
    """

    def make(path, variant, content):
        root = path.parents[4]
        shutil.copytree(root / source, path, copy_function=os.link)
        broken_file = path / name
        broken_file.unlink()
        put(broken_file, variant, content)
        manifest = broken_file.with_name("manifest.json")
        if content is None or manifest == broken_file or not manifest.is_file():
            return
        tree = json.loads(manifest.read_text())
        tree["files"][broken_file.name] = {
            "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()
        }  # fmt: skip
        manifest.unlink()
        manifest.write_text(json.dumps(tree))

    return make


READERS = [
    ("train data.fasta", GENOMES, (*_TINY, "data.fasta={file}", "data.annotation=null",
                                   "data.valid=[b]", "data.test=[c]")),
    ("train data.fasta, no names", GENOMES, (*_TINY, "data.fasta={file}", "data.annotation=null",
                                             "data.valid=null", "data.test=null")),
    ("train data.annotation", (".gff3",), (*_OWN, "data.annotation={file}")),
    ("train data.bed", (".bed",), (*_OWN[:6], "data.bed={file}", "data.valid=null",
                                   "data.test=null")),
    ("train data.labels", (".labels",), (*_OWN, "data.labels={file}")),
    ("train init_from", (".json",), (*_OWN, "init_from={file}")),
    ("evaluate data.fasta", GENOMES, (*_EVALUATE, "data.fasta={file}", *_HELD_OUT)),
    ("evaluate data.annotation", (".gff3",), (*_EVALUATE, *_GENOME, "data.annotation={file}")),
    ("evaluate data.bed", (".bed",), (*_EVALUATE, "data.fasta=good.fa", "data.bed={file}")),
    ("evaluate model", (".json",), ("evaluate", "model={file}", "out={out}/o.json")),
    ("sample template", (".template.fa",), (*_SAMPLE[:3], "out={out}/o.fa", "template={file}")),
    ("sample edit", (".samples.fa",), (*_SAMPLE[:3], "out={out}/o.fa", "edit={file}")),
    ("sample infill", (".bed",), (*_SAMPLE[:3], "out={out}/o.fa", "infill={file}",
                                  "data.fasta=good.fa")),
    ("sample data.fasta", GENOMES, (*_SAMPLE[:3], "out={out}/o.fa", "infill=good.bed",
                                    "data.fasta={file}")),
    ("sample guide", (".json",), (*_SAMPLE, "guide={file}", "guide_label=0")),
    ("design template", (".one.fa",), (*_DESIGN, "template={file}")),
    ("design unlike", (*TABLES, ".fa"), (*_DESIGN, "length=24", "unlike={file}")),
    ("judge samples", (".samples.fa",), _JUDGE),
    ("judge reference", GENOMES, ("judge", "samples=good.samples.fa", "reference={file}",
                                  "out={out}/o.json")),
    ("judge motifs", (".meme", ".jaspar"), ("judge", "samples=good.samples.fa", "reference=good.fa",
                                            "motifs={file}", "out={out}/o.json")),
    ("tracks data.fasta", GENOMES, (*_LOCUS, "data.fasta={file}", *_HELD_OUT)),
    ("tracks data.annotation", (".gff3",), (*_LOCUS, *_GENOME, "data.annotation={file}")),
    ("tracks bed", (".bed",), ("tracks", _MODEL, "stride=2", "data.fasta=good.fa", "bed={file}",
                               "out={out}/o")),
    ("interpret data.fasta", GENOMES, ("interpret", _MODEL, "locus=a:100-110", "out={out}/o",
                                       "data.fasta={file}")),
    ("interpret model", (".json",), ("interpret", "model={file}", "locus=a:100-110",
                                     "data.fasta=good.fa", "out={out}/o")),
    ("score variants", (".vcf", ".vcf.gz"), (*_SCORE, "variants={file}", "data.fasta=good.fa")),
    ("score data.fasta", GENOMES, (*_SCORE, "variants=good.vcf", "data.fasta={file}")),
    ("embed data.fasta", GENOMES, (*_EMBED, "data.fasta={file}")),
    ("embed data.bed", (".bed",), (*_EMBED, "data.fasta=good.fa", "data.bed={file}")),
    ("finetune data.train", (*TABLES, ".labels.fa"), (*_TABLE, "data.train={file}")),
    ("finetune data.test", TABLES, (*_TABLE, "data.train=good.csv", "data.test={file}")),
    ("predict input", (*TABLES, ".fa", ".fa.gz"), (*_PREDICT, "input={file}")),
    ("predict input, intervals", (".bed",), (*_PREDICT, "input={file}", "data.fasta=good.fa")),
    ("predict data.fasta", GENOMES, (*_PREDICT, "input=good.bed", "data.fasta={file}")),
    ("report evaluation", (".json",), ("report", "evaluation={file}")),
    ("report run_dir", (".json",), ("report", "run_dir={file}")),
    *(
        (f"sample {name} of a checkpoint", (".json",), ("sample", "model={file}", *_SAMPLE[2:]),
         within("run/checkpoints/step_000000020", name))
        for name in ("model.json", "manifest.json", "average.safetensors")
    ),
    *(
        (f"report {name} of a run", (".json",), ("report", "run_dir={file}"), within("run", name))
        for name in ("run.json", "config.yaml", "metrics.csv")
    ),
    *(
        (f"train {name} of a run", (".json",), ("train", *SHORT, "run_dir={file}"),
         within("run", name))
        for name in ("run.json", "config.yaml", "metrics.csv")
    ),
    ("report results.json of a run", (".json",), ("report", "run_dir={file}"),
     within("ft", "results.json")),
    ("predict head.json of a run", (".json",), ("predict", "model={file}", "input=good.csv",
                                                "out={out}/o.tsv"),
     within("ft", "splits/model_seed_1/head.json")),
]  # fmt: skip
"""What is read, the endings of its files, and the command; the model is in run, a head in ft.

A fourth element puts a folder in the place of the file, one file of which is broken.
"""


# of text, with a model of text in words.
_TEXT = "model=words"
TEXT_READERS = [
    ("judge samples of text", (".txt", ".jsonl"), ("judge", _TEXT, "samples={file}",
                                                   "out={out}/o.json")),
    ("sample prompt of text", (".json",), ("sample", "model={file}", "prompt=a",
                                           "out={out}/o.txt")),
    ("finetune data.train of text", TABLES, ("finetune", "config=table", _TEXT, *_TABLE[3:],
                                             "data.train={file}")),
    ("train data.corpus", (".json",), ("train", "config=text", "data.corpus={file}",
                                       "dry_run=true", "run_dir={out}/r")),
    ("train manifest.json of a corpus", (".json",), ("train", "config=text", "data.corpus={file}",
                                                     "dry_run=true", "run_dir={out}/r"),
     within("corpus", "manifest.json")),
    ("train data.tokenizer", (".json",), ("train", "config=text", "data.corpus=corpus",
                                          "data.tokenizer={file}", "dry_run=true",
                                          "run_dir={out}/r")),
]  # fmt: skip


def good_inputs(folder):
    """Write `good.fa` and its like, which commands read besides the broken file."""
    for ending, content in GOOD.items():
        (folder / f"good{ending}").write_bytes(content)


# what reads each kind of file first; the others share its reader.
_THOROUGH = (
    "embed data.fasta", "embed data.bed", "evaluate data.annotation", "score variants",
    "finetune data.train", "predict input", "judge samples", "judge motifs", "report evaluation",
    "judge samples of text",
)  # fmt: skip


# 300,000 bases for a network of 128 are no mistake, and take an hour.
_SOUND_AND_LONG = {
    (reader, "long line") for reader in ("sample template", "sample edit", "design template")
}


def cases_of(reader, number=0, *, complete=False):
    """Name of the variant and ending, for the files that a reader gets.

    Args:
        reader: one of the readers.
        number: its number, so that others get other variants.
        complete: all variants, rather than one of twelve where a kind of file is read first, and
            one of forty elsewhere.
    """
    what, endings, *_ = reader
    step = 1 if complete else 12 if what in _THOROUGH else 40
    found = [
        (name, ending)
        for ending in endings
        for name in broken_of(ending)
        if (what, name) not in _SOUND_AND_LONG
    ]
    return found[number % step :: step]


def commands_of(reader, cases, folder, part):
    """The command of each case, whose file and folder of outputs are made here.

    Args:
        reader: one of the readers.
        cases: names of variants with endings.
        folder: where the commands will run.
        part: of the names of the folders that are made.

    Returns:
        The commands, and the folder of each.
    """
    _, _, asked, *maker = reader
    commands, places = [], []
    for number, (name, ending) in enumerate(cases):
        relative = f"cases/{part}/{number}"
        place = folder / relative
        (place / "out").mkdir(parents=True)
        (place / "in").mkdir()
        make = maker[0] if maker else put
        make(place / "in" / f"broken{ending}", name, broken_of(ending)[name])
        file, out = f"{relative}/in/broken{ending}", f"{relative}/out"
        commands.append([word.format(file=file, out=out) for word in asked])
        places.append(place)
    return commands, places


_BROKEN = {}


def broken_of(ending):
    """As `broken`, made once."""
    return _BROKEN.setdefault(ending, broken(ending))


def fault_of(answer, place):
    """What is wrong with an answer; None where nothing is.

    A command ends with 0 or 2. With 2 it says one sentence, and nothing that it made stays.
    """
    code, _, err = answer
    if code not in (0, 2):
        return f"exit code {code}"
    if "Traceback (most recent call last)" in err or "failed with" in err:
        return "a traceback or the message of a library"
    inputs = [path.name for path in (place / "in").iterdir() if not path.name.startswith("broken")]
    left = sorted(str(path.relative_to(place)) for path in (place / "out").rglob("*"))
    # a run folder keeps its lock.
    left = [name for name in left if not name.endswith(("r/.lock", "r/.owner"))]
    hidden = [name for name in left if re.search(r"(^|/)\.|partial|\.tmp", name)]
    if hidden or inputs:
        return f"left over: {hidden or inputs}"
    said = [line for line in err.splitlines() if line.startswith("dnamdlm: ")]
    if code == 0:
        return f"says {said} and ends with 0" if said else None
    if left:
        return f"left over: {left}"
    if len(said) != 1 or err.splitlines()[-1] != said[0]:
        return "not one sentence"
    return _fault_of_sentence(said[0])


# names of classes of errors, and what Python and libraries say.
_FOREIGN = re.compile(
    r"\b[A-Z]\w*(Error|Exception)\b|\[Errno|invalid literal|codec can't|object has no attribute"
    r"|list index|out of range for|NoneType|0x[0-9a-f]{8,}|<class|\bTensor\b|Input should be"
)
_MOST_LETTERS = 1100


def _fault_of_sentence(sentence):
    if found := _FOREIGN.search(sentence):
        return f"the message of a library: {found[0]}"
    if len(sentence) > _MOST_LETTERS:
        return f"a sentence of {len(sentence)} letters"
    if any(ord(letter) < 32 for letter in sentence):
        return "a control character in the sentence"
    return None
