"""The data that a trained model is evaluated on: its own, or others in the same form."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dnamdlm.assembly.models import LoadedModel
from dnamdlm.data.data_source import DataSource, OpenData
from dnamdlm.data.genome.genome_settings import GenomeData
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.named_files import check_carried_files
from dnamdlm.data.text.corpus import OpenText, TextData
from dnamdlm.data.text.tokenizers import open_tokenizer
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.tokens.text_tokenizer import TextTokenizer, tokenizer_fingerprint

# settings that only make sense for the genome they were chosen for.
_OF_ONE_GENOME = ("annotation", "circular", "bed", "labels", "expand", "train", "valid", "test")
_RECORD_LISTS = ("train", "valid", "test")


@dataclass(frozen=True)
class DataChanges:
    """Settings of the data that may differ from those of the training; None: as in training.

    Attributes:
        fasta: another genome.
        annotation: GFF3 with coding regions.
        circular: names of circular records.
        bed: intervals with train, valid or test in the fourth column.
        expand: False: windows that stay in their split.
        train: record names.
        valid: record names.
        test: record names.
        cache_dir: folder of prepared genomes.
        corpus: another prepared corpus, for a model of text.
    """

    fasta: str | None = None
    annotation: str | None = None
    circular: tuple[str, ...] | None = None
    bed: str | None = None
    expand: bool | None = None
    train: tuple[str, ...] | None = None
    valid: tuple[str, ...] | None = None
    test: tuple[str, ...] | None = None
    cache_dir: str | None = None
    corpus: str | None = None

    def changed(self) -> dict[str, Any]:
        """What is given."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def genome_data(loaded: LoadedModel, changes: DataChanges) -> DataSource:
    """The data settings of the model's run, with what is changed.

    Another genome does not inherit the splits and the annotation of the training genome.

    Args:
        loaded: a model of DNA.
        changes: what differs.

    Raises:
        ConfigError: if something is changed that a mixture of genomes does not have.
    """
    given: dict[str, Any] = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in changes.changed().items()
    }
    check_carried_files(loaded.config.tree, given)
    own = loaded.config.data
    if not loaded.config.data_is_known and "fasta" not in given:
        raise ConfigError(f"{loaded.folder} does not say what it was trained on; give data.fasta")
    replaced: dict[str, Any] = {}
    if not isinstance(own, GenomeData):
        if "fasta" in given:
            cache_dir = given.get("cache_dir", getattr(own, "cache_dir", None))
            others: dict[str, Any] = {
                key: changes.changed()[key] for key in _OF_ONE_GENOME if key in given
            }
            return GenomeData(given["fasta"], length=loaded.length, cache_dir=cache_dir, **others)
        if odd := [key for key in _OF_ONE_GENOME if key in given]:
            raise ConfigError(
                f"data.{odd[0]} belongs to one genome, and this model was trained on a mixture; "
                "give data.fasta too, or leave it out"
            )
    elif "fasta" in given and given["fasta"] != own.fasta:
        replaced |= {key: None for key in _OF_ONE_GENOME if key != "expand"} | {"expand": False}
    if "bed" in given:
        replaced |= dict.fromkeys(_RECORD_LISTS)
    elif any(key in given for key in _RECORD_LISTS):
        replaced |= {"bed": None, "expand": False}
    return loaded.config.changed_data(replaced | given)


def chosen_genomes(data: OpenData, name: str | None) -> dict[str, OpenGenome]:
    """The genomes to score by name: one of a mixture, or all; a genome alone has no name.

    Raises:
        ConfigError: if there is no genome of that name.
    """
    parts = dict(data.parts) or {"": data}
    if name is not None:
        if name not in data.parts:
            known = f"choose one of {', '.join(data.parts)}" if data.parts else "leave genome out"
            raise ConfigError(f"genome={name} is not part of the data of this model; {known}")
        parts = {name: parts[name]}
    genomes = {key: part for key, part in parts.items() if isinstance(part, OpenGenome)}
    if len(genomes) < len(parts):
        raise ConfigError("these data are not genomes; evaluate a model of DNA")
    return genomes


def corpus_data(loaded: LoadedModel, changes: DataChanges) -> OpenText:
    """The corpus of a model of text, or another one, cut alike.

    Raises:
        ConfigError: if the corpus is not known.
        DataError: if the corpus was made with another vocabulary.
    """
    settings = loaded.config.data
    assert isinstance(settings, TextData)
    own, replaced = settings.tokenizer, {}
    if changes.corpus is not None:
        replaced = {"corpus": changes.corpus, "download_command": None}
    elif not loaded.config.data_is_known:
        raise ConfigError(
            f"model={loaded.folder} has published weights, and what they were trained on is not "
            f"known; give data.corpus=DIR of text that was prepared with tokenizer={own}"
        )
    # each corpus holds the tokenizer that made it, and this is compared with that of the model.
    settings = loaded.config.changed_data(replaced | {"tokenizer": None})
    assert isinstance(settings, TextData)
    opened = settings.open()
    _check_tokenizers(opened, loaded, own)
    return opened


def _check_tokenizers(opened: OpenText, loaded: LoadedModel, own: str | None) -> None:
    """Refuse a corpus whose ids mean other letters than those of the model."""
    theirs, model = opened.tokenizer, loaded.run_dir or loaded.folder
    if own is None:
        is_same = theirs.vocabulary.fingerprint() == loaded.lm.vocabulary.fingerprint()
        trained, advice = "another tokenizer", "the tokenizer of the model"
    else:
        tokenizer = open_tokenizer(own, cache_dir=opened.settings.cache_dir)
        # those published under one name come as several files, which treat oddities differently.
        is_kept = own == str(loaded.folder.resolve()) and loaded.step > 0
        mark = tokenizer_fingerprint if is_kept else _vocabulary_mark
        is_same = mark(theirs) == mark(tokenizer)
        trained, advice = f"the tokenizer {tokenizer.name}", f"tokenizer={own}"
    if not is_same:
        raise DataError(
            f"data.corpus={opened.settings.corpus} was prepared with the tokenizer {theirs.name}, "
            f"whose vocabulary is not that of the model: model={model} was trained with {trained}; "
            f"prepare it with {advice}, or give another data.corpus"
        )


def _vocabulary_mark(tokenizer: TextTokenizer) -> str:
    return tokenizer.vocabulary.fingerprint()
