"""Generated text compared with held-out text."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dnamdlm.assembly.building.published import is_published
from dnamdlm.assembly.evaluation_target import (
    evaluation_target,
    is_of_model,
    other_corpus,
    provenance,
)
from dnamdlm.assembly.judge.judge_settings import JudgeSettings
from dnamdlm.assembly.model_data import corpus_data
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.assembly.text_rows import begin_mark, shown
from dnamdlm.data.path_kinds import what_it_is
from dnamdlm.data.stream import Sweep
from dnamdlm.data.text.corpus import OpenText, TextData
from dnamdlm.data.text.rows import Rows
from dnamdlm.data.text.sample_files import read_text_records
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.evaluation.evaluation_files import write_evaluation
from dnamdlm.evaluation.text.mauve import check_mauve, mauve
from dnamdlm.evaluation.text.scorers import CheckpointScorer, Scorer, hugging_face_scorer
from dnamdlm.evaluation.text.text_quality import (
    NGRAMS,
    TextSample,
    retokenized,
    text_quality,
    text_states,
)
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.checkpoint import MODEL
from dnamdlm.tokens.text_tokenizer import TextTokenizer
from dnamdlm.training.run_folder import CONFIG

logger = logging.getLogger(__name__)


def read_texts(path: Path, tokenizer: TextTokenizer) -> list[TextSample]:
    """Texts of a .jsonl file (keys text and, if known, ids) or a .txt file as `sample` writes it.

    Args:
        path: the file.
        tokenizer: makes ids where the file has none.

    Raises:
        DataError: if it cannot be read or holds no text.
    """
    marks = marks_of(tokenizer)
    return [
        TextSample(record["text"], _ids(record, path, tokenizer, marks))
        for record in read_text_records(path)
    ]


def _ids(
    record: Mapping[str, Any], path: Path, tokenizer: TextTokenizer, marks: Sequence[str]
) -> np.ndarray:
    ids = record.get("ids")
    if ids is None:
        return retokenized(record["text"], tokenizer, marks)[0]
    if not isinstance(ids, list) or not all(isinstance(id_, int) for id_ in ids):
        raise DataError(f"samples={path} has ids that are not a list of integers; fix the file")
    vocabulary = tokenizer.vocabulary
    if ids and not 0 <= min(ids) <= max(ids) < len(vocabulary):
        raise DataError(
            f"samples={path} has ids outside [0, {len(vocabulary)}), so another tokenizer made "
            "them; evaluate them with the model that did"
        )
    found = np.array(ids, dtype=np.int64)
    return found[found != vocabulary.pad_id]


def real_texts(opened: OpenText, split: str, length: int, count: int) -> list[TextSample]:
    """Held-out rows of a split, as many and as long, written as `sample` writes its own.

    Rows of one document each (data.layout=padded) are as long as documents are, up to data.length.
    Longer texts hold several documents, and so do the blocks that they are compared with.

    Args:
        opened: the corpus.
        split: one of its splits.
        length: tokens of a text, without the mark that rows begin with.
        count: most texts.
    """
    settings = opened.settings
    if settings.layout == "padded" and length > settings.length:
        rule = replace(opened.rule(length), layout="packed", begin_id=None, end_id=None)
        rows = Rows(opened.split(split), rule, split, slide_back=False)
        windows = Sweep.over(rows, limit=count)
    elif settings.layout == "padded":
        windows = opened.evaluation_windows(split, limit=count)
    else:
        length += begin_mark(settings, opened.tokenizer) is not None
        windows = opened.evaluation_windows(split, length=max(length, 3), limit=count)
    found = []
    for batch in windows.batches(64):
        for tokens, present in zip(batch.tokens.numpy(), batch.present.numpy(), strict=True):
            ids = shown(tokens[present], settings, opened.tokenizer)
            found.append(TextSample(opened.tokenizer.decode(ids), ids))
    return found


def open_scorer(name: str, device: torch.device | str) -> Scorer:
    """The scorer that a setting names.

    Args:
        name: run or checkpoint folder of ours, folder of a Hugging Face model, or hub id.
        device: where it goes.

    Raises:
        CheckpointError: if a folder of ours is damaged or holds no checkpoint.
        ConfigError: if it is not autoregressive, or a package is missing.
        DataError: if there is no such model.
    """
    folder = Path(name)
    is_ours = (folder / "checkpoints").is_dir() or (folder / MODEL).is_file()
    # a run that has saved nothing yet, which is not a folder of Hugging Face either.
    is_ours |= (folder / CONFIG).is_file() and not is_published(folder)
    if not is_ours and folder.exists() and (found := what_it_is("scorer", folder, "model")):
        raise DataError(found)
    if not is_ours:
        return hugging_face_scorer(name, device)
    loaded = load_model(name, device=str(device), setting="scorer")
    if not isinstance(loaded.lm, CausalLM):
        raise ConfigError(
            f"scorer={name} is a {type(loaded.lm).__name__}, which has no distribution of the next "
            "token; give an autoregressive one (lm=ar), or GPT-2"
        )
    settings = loaded.config.data
    if not isinstance(settings, TextData):
        raise ConfigError(f"scorer={name} is a model of DNA; give one of text")
    tokenizer = settings.open_tokenizer()
    # the last place of a row with marks is always its end mark, so that no text is read there.
    begin, name = begin_mark(settings, tokenizer), folder.resolve().name
    is_marked = settings.wrap or settings.layout == "padded"
    num_marks = (begin is not None) + (is_marked and tokenizer.end_id is not None)
    return CheckpointScorer(loaded.lm, tokenizer, settings.length - num_marks, name, begin)


def marks_of(tokenizer: TextTokenizer) -> list[str]:
    """Symbols of the begin and end of a document, as `decode` writes them."""
    ids = (tokenizer.begin_id, tokenizer.end_id)
    return sorted({tokenizer.vocabulary.symbols[id_] for id_ in ids if id_ is not None})


def judge_texts(
    settings: JudgeSettings, loaded: LoadedModel, progress: Callable[[int, int], None]
) -> tuple[Path, str]:
    """Compare texts with held-out text of the corpus of the model.

    Returns:
        The evaluation file of the split, and the figures for people.

    Raises:
        DataError: if samples, corpus or scorer cannot be read.
    """
    if settings.mauve:
        check_mauve()
    opened = corpus_data(loaded, settings.data)
    other = other_corpus(loaded, opened)
    stem = settings.split if other is None else f"{settings.split}.{other}"
    out = evaluation_target(settings, loaded, stem)
    compared = compare_texts(settings, loaded, opened, progress)
    keep = is_of_model(out, loaded)
    corpus = Path(opened.settings.corpus).resolve().name
    sections: dict[str, Any] = {"generated_text": {"corpus": corpus, **compared}}
    if not keep:
        sections["provenance"] = provenance(loaded, opened, seed=settings.seed)
    write_evaluation(out, settings.split, sections, keep_others=keep)
    return out, compared_sentence(compared).strip()


def compare_texts(
    settings: JudgeSettings,
    loaded: LoadedModel,
    opened: OpenText,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The section "generated_text": samples and held-out text, each by the same protocol.

    Args:
        settings: of `judge`.
        loaded: the model that made the samples.
        opened: its corpus.
        progress: called with (texts scored, texts in all).

    Raises:
        ConfigError: if the scorer is none.
        DataError: if samples or scorer cannot be read.
    """
    samples = read_texts(Path(settings.samples), opened.tokenizer)
    lengths = [len(sample.ids) for sample in samples if sample.text.strip()]
    if not lengths:
        raise DataError(f"samples={settings.samples} holds only empty texts; sample some others")
    length = int(np.median(lengths))
    real = real_texts(opened, settings.split, length, len(samples))
    device = loaded.device
    scorer = None if settings.scorer is None else open_scorer(settings.scorer, device)
    logger.info("comparing %d texts of %d tokens with held-out text", len(samples), length)
    marks = marks_of(opened.tokenizer)
    if empty := sum(not sample.text.strip() for sample in samples):
        logger.warning("%d of %d texts are empty; no figure takes them", empty, len(samples))
    section: dict[str, Any] = {
        "scorer": None if scorer is None else scorer.name,
        "scorer_context": None if scorer is None else scorer.context,
        "length": length,
        "heldout": settings.split,
        "generated": text_quality(samples, scorer, marks, progress=progress).to_json(),
        "real": text_quality(real, scorer, marks, progress=progress).to_json(),
    }
    if settings.mauve:
        assert scorer is not None
        states = (text_states(texts, scorer, marks) for texts in (samples, real))
        section["mauve"] = mauve(*states, seed=settings.seed)
    return section


def compared_sentence(section: Mapping[str, Any]) -> str:
    """Figures of samples and of held-out text below each other."""
    lines = [
        f"\n{name} ({_counted(section[key])}): " + _figures(section[key])
        for name, key in (("samples", "generated"), (f"{section['heldout']} text", "real"))
    ]
    if section["scorer"] is None:
        lines.append("\n  no perplexity of samples without a scorer; give scorer=gpt2-large")
    if "mauve" in section:
        lines.append(f"\n  MAUVE {section['mauve']:.3f}")
    return "".join(lines)


def _counted(figures: Mapping[str, Any]) -> str:
    num_texts, num_empty = figures["num_texts"], figures["num_empty"]
    mean = round(figures["num_tokens"] / max(num_texts - num_empty, 1))
    empty = f", {num_empty} empty" if num_empty else ""
    return f"{num_texts} texts of about {mean} tokens{empty}"


def _figures(figures: Mapping[str, Any]) -> str:
    def shown(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    text = ""
    if figures["perplexity"] is not None:
        text = (
            f"generative perplexity {figures['perplexity']:.2f} +- "
            f"{shown(figures['perplexity_standard_error'], 2)}, "
        )
    longest = str(max(NGRAMS))
    return (
        f"{text}entropy {shown(figures['entropy_nats'], 3)} nats, distinct-2 "
        f"{shown(figures['distinct']['2'], 3)}, rep-{longest} "
        f"{shown(figures['repeated'][longest], 3)}"
    )
