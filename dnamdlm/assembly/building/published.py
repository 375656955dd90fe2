"""Weights that other projects published, as backbones with the settings that describe them.

Read are folders in the layout of Hugging Face, single files of tensors and Lightning checkpoints of
MDLM and its successors. The names of the tensors say which network it is, the config of a folder
which process it was trained for; docs/sharing.md lists the projects.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dnamdlm.assembly.building.network_nodes import describe_network
from dnamdlm.backbones.autoregressive import CausalTransformer
from dnamdlm.backbones.bert import Bert
from dnamdlm.backbones.bidirectional import Mamba
from dnamdlm.backbones.caduceus import CaduceusPS
from dnamdlm.backbones.convnet import ConvNet
from dnamdlm.backbones.dit import DiT
from dnamdlm.backbones.dnabert2 import Dnabert2
from dnamdlm.backbones.hyena import Hyena
from dnamdlm.backbones.nucleotide_transformer import NucleotideTransformer
from dnamdlm.data.json_files import read_json_file
from dnamdlm.data.path_kinds import is_prepared
from dnamdlm.data.text.tokenizer_hub import hub_failures
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.checkpoint import MODEL
from dnamdlm.lm.published.import_bert import BERT_MARK, import_bert
from dnamdlm.lm.published.import_caduceus import import_caduceus, read_caduceus
from dnamdlm.lm.published.import_dnabert2 import (
    DNABERT2_MARK,
    PIECES_FILE,
    import_dnabert2,
    is_dnabert2,
)
from dnamdlm.lm.published.import_esm import ESM_MARK, import_esm
from dnamdlm.lm.published.import_gpn import GPN_IDS, GPN_LENGTH, GPN_TYPES, import_gpn
from dnamdlm.lm.published.import_hyena import HYENA_MARK, SPECIAL_POSITIONS, import_hyena
from dnamdlm.lm.published.import_mdlm import (
    HUB_CONFIG,
    HUB_WEIGHTS,
    fold_time,
    hub_weights,
    import_autoregressive,
    import_dit,
    read_mdlm_checkpoint,
)
from dnamdlm.lm.published.letter_rows import is_as_ours, letter_ids, with_our_rows
from dnamdlm.lm.published.published_process import PublishedProcess, process_of, without_buffers
from dnamdlm.lm.published.word_rows import word_ids
from dnamdlm.lm.states.peft_layout import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from dnamdlm.tokens.subwords import FILES as TOKENIZER_FILES
from dnamdlm.tokens.subwords import SubwordTokenizer, has_tokenizer
from dnamdlm.tokens.vocabulary import Vocabulary

Network = (
    Mamba
    | CaduceusPS
    | DiT
    | CausalTransformer
    | Bert
    | ConvNet
    | Hyena
    | NucleotideTransformer
    | Dnabert2
)

FILES = (".safetensors", ".ckpt", ".bin", ".pt", ".pth")
# bases per window where the source does not say; the length of the smaller published models.
USUAL_LENGTH = 1024
# words per row of the Nucleotide Transformer v2, without the mark before it.
_USUAL_WORDS = 2047
# settings of a network that another one with tensors of the same shapes may not share.
_UNSEEN_IN_SHAPES = ("num_heads", "attention_window", "activation")
_MAMBA_MARK, _TIME_MARK = ".mamba_fwd.", "sigma_map."
# parts of names of tensors that one kind of network alone has, the more special ones first.
_BY_MARK: Mapping[str, Callable[..., Network]] = {
    HYENA_MARK: import_hyena,
    BERT_MARK: import_bert,
}
_FETCHED = [HUB_CONFIG, *HUB_WEIGHTS, *TOKENIZER_FILES, ADAPTER_CONFIG, ADAPTER_WEIGHTS]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """A network that was read.

    Attributes:
        network: in float32 and evaluation mode.
        node: the config node `backbone` that builds a network of this form.
        file: the file with its weights.
        length: bases per window in training, as far as the source says.
        process: what it was trained for.
    """

    network: Network
    node: dict[str, Any]
    file: Path
    length: int
    process: PublishedProcess


def is_published(path: Path) -> bool:
    """Whether a path looks like weights of another project, not a file of our checkpoints."""
    if path.is_dir():
        return (path / HUB_CONFIG).is_file()
    is_ours = (path.parent / MODEL).is_file() and is_prepared(path.parent)
    return path.is_file() and path.suffix in FILES and not is_ours


def reads_bases(path: Path) -> bool:
    """Whether a network of a folder is one of bases, whatever its tokenizer makes of them."""
    return (letter_ids(path) or word_ids(path)) is not None or is_dnabert2(path)


def from_hub(model: str, setting: str, **options: Any) -> Path | None:
    """Fetch the model of a hub id, or find it among those fetched before.

    Args:
        model: what the user gave, which is not a path.
        setting: name of the setting, for messages.
        **options: of `huggingface_hub.snapshot_download`, such as `revision`.

    Returns:
        The local folder, or None if it cannot be a hub id or huggingface_hub is not installed.

    Raises:
        CheckpointError: if the hub cannot be reached or has no such model.
    """
    is_mistyped_path = Path(model).parent.is_dir()
    known = importlib.util.find_spec("huggingface_hub") is not None
    if not known or is_mistyped_path or not _HUB_ID.fullmatch(model):
        return None
    from huggingface_hub import snapshot_download  # pyright: ignore[reportMissingImports]

    try:
        folder = snapshot_download(model, allow_patterns=_FETCHED, **options)
    except hub_failures() as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{setting}={model} is not a folder here, and the Hugging Face hub does not give it "
            f"({said}); give a run folder or a folder that you downloaded"
        ) from error
    return Path(folder)


def read_published(
    path: Path, vocabulary: Vocabulary, *, weights: Literal["average", "raw"] = "average"
) -> Published:
    """Read the network of a folder or file of another project.

    Args:
        path: a folder with `config.json`, or a file with one of the endings in `FILES`.
        vocabulary: what the ids will mean; the source must have been trained with the same ids.
        weights: which set of a Lightning checkpoint.

    Raises:
        CheckpointError: if it is damaged, holds another kind of network or has other ids.
    """
    file = hub_weights(path) if path.is_dir() else path
    config = _config(path)
    chosen: Literal["ema", "trained"] = "ema" if weights == "average" else "trained"
    state = read_mdlm_checkpoint(file, weights=chosen)
    process = process_of(config, state, str(path))
    network = _network_of(state, config, path)
    if isinstance(network, DiT):
        if path.is_dir():
            # for its checks of the sizes that the folder declares.
            read_mdlm_checkpoint(path, weights=chosen)
        if not process.sees_time:
            logger.info("%s: taken as trained without time conditioning, as published", path)
            network = fold_time(network)
    ids = letter_ids(path) if vocabulary.complement is not None else None
    if ids is None and isinstance(network, ConvNet) and vocabulary.complement is not None:
        ids = GPN_IDS
    if ids is not None and not is_as_ours(ids):
        with_our_rows(network, ids, str(path))
        logger.info("%s: rows of the vocabulary are put in the order of A, C, G, T, N here", path)
    network = _with_padding_row(network, vocabulary)
    _check_vocabulary(network, vocabulary, path)
    length = _length(network, config)
    return Published(network.float().eval(), describe_network(network), file, length, process)


def _length(network: Network, config: Mapping[str, Any]) -> int:
    """Bases per window in training, as far as the source says."""
    if isinstance(network, Hyena):
        return max(1, network.max_length - SPECIAL_POSITIONS)
    if isinstance(network, NucleotideTransformer):
        # two of the positions are not for words, and the first word is the mark before a row.
        words = int(config.get("max_position_embeddings", _USUAL_WORDS + 3)) - 3
        return max(1, words) * network.ids.size
    usual = GPN_LENGTH if isinstance(network, ConvNet) else USUAL_LENGTH
    length = config.get("model_length") or usual
    return min(length, network.max_length) if isinstance(network, Bert) else length


def _network_of(state: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Network:
    """The network that the names of the tensors, or the config, say it is."""
    source = str(path)
    if config.get("model_type") in GPN_TYPES:
        return import_gpn(state, config, source=source)
    if any(ESM_MARK in name for name in state):
        return import_esm(state, config, word_ids(path) if path.is_dir() else None, source=source)
    if any(DNABERT2_MARK in name for name in state):
        pieces = path / PIECES_FILE
        content = pieces.read_bytes() if pieces.is_file() else None
        return import_dnabert2(state, config, content, source=source)
    for mark, importer in _BY_MARK.items():
        if any(mark in name for name in state):
            return importer(state, config, source=source)
    if any(_MAMBA_MARK in name for name in state):
        return read_caduceus(path) if path.is_dir() else import_caduceus(state, source=source)
    weights, num_heads = without_buffers(state, source), config.get("n_heads")
    importer = import_dit if any(_TIME_MARK in name for name in state) else import_autoregressive
    return importer(weights, num_heads=num_heads, source=source)


def check_same_form(published: Published, network: nn.Module, what: str) -> None:
    """Refuse a network of another form than the published one.

    Args:
        published: the source.
        network: what is to be filled with its weights.
        what: the source as the user named it.

    Raises:
        CheckpointError: naming the settings that would fit.
    """
    own = describe_network(network)
    wanted = {name: value for name, value in published.node.items() if own.get(name) != value}
    if wanted:
        shown = " ".join(f"backbone.{name}={_spelled(value)}" for name, value in wanted.items())
        raise CheckpointError(f"{what} is a network of another form; train with {shown}")


def check_same_use(node: Mapping[str, Any], network: nn.Module, what: str) -> None:
    """Refuse a network that would use the weights of a run in another way.

    Args:
        node: the config node `backbone` of the run.
        network: what is to be filled with its weights; that shapes fit is checked elsewhere.
        what: the source as the user named it.

    Raises:
        CheckpointError: naming the settings that would fit.
    """
    own = describe_network(network)
    wanted = {
        name: node[name]
        for name in _UNSEEN_IN_SHAPES
        if name in node and name in own and node[name] != own[name]
    }
    if wanted:
        shown = " ".join(f"backbone.{name}={_spelled(value)}" for name, value in wanted.items())
        raise CheckpointError(f"{what} is a network of another form; train with {shown}")


def _config(path: Path) -> dict[str, Any]:
    """What a folder says of its model; nothing for a file."""
    if path.is_file():
        return {}
    try:
        config = read_json_file(path / HUB_CONFIG)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path / HUB_CONFIG}: not readable as JSON ({error})") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path / HUB_CONFIG}: holds no table")
    return config


def _check_vocabulary(network: Network, vocabulary: Vocabulary, path: Path) -> None:
    """Published DNA models have our ids, rounded up to a multiple of at most 128."""
    has_tokenizer_ids = vocabulary.complement is None
    size = len(vocabulary)
    is_padded = (
        isinstance(network, Mamba | CaduceusPS | Hyena) and size < network.vocab_size <= size + 128
    )
    if network.vocab_size != size and not is_padded:
        raise CheckpointError(
            f"{path}: has {network.vocab_size} token ids, and the vocabulary of "
            + (
                f"this text has {size}; use weights that were trained with the same tokenizer"
                if has_tokenizer_ids
                else f"DNA has {size}; use weights that were trained on DNA, and put the files of "
                "their tokenizer into the folder, with tokenizer.json for other ids of the bases"
            )
        )
    if has_tokenizer_ids and path.is_dir() and has_tokenizer(path):
        theirs = SubwordTokenizer(path).vocabulary
        if theirs.fingerprint() != vocabulary.fingerprint():
            raise CheckpointError(
                f"{path}: its tokenizer has other ids than this text was prepared with; prepare "
                f"the text with tokenizer={path}"
            )


@torch.no_grad()
def _with_padding_row(network: Network, vocabulary: Vocabulary) -> Network:
    """The network with an idle row for padding, if that is the one id that it lacks.

    MDLM gives GPT-2 one new id for both the mask and padding; here they are two.
    """
    size = len(vocabulary)
    is_short = network.vocab_size == size - 1 and vocabulary.pad_id == size - 1
    if not is_short or not isinstance(network, DiT | CausalTransformer):
        return network
    for part in (network.embedding, network.head):
        for name, values in list(part.named_parameters()):
            row = values.new_zeros(1, *values.shape[1:])
            setattr(part, name, nn.Parameter(torch.cat([values, row])))
    network.vocab_size = size
    return network


def _spelled(value: object) -> str:
    """A value as Hydra reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
