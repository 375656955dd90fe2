"""What benchmarks of a trained model share: the genome or the text it was trained on."""

from dnamdlm.assembly.model_data import DataChanges, genome_data
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.text.corpus import TextData
from dnamdlm.errors import ConfigError


def text_of(loaded: LoadedModel) -> TextData:
    """The corpus that a model was trained on.

    Raises:
        ConfigError: if it was trained on something else.
    """
    source = loaded.config.data
    if not isinstance(source, TextData):
        raise ConfigError(f"{loaded.folder} was not trained on text; give a model that was")
    return source


def genome_of(loaded: LoadedModel) -> OpenGenome:
    """The genome that a model was trained on.

    Raises:
        ConfigError: if it was trained on something else than one genome.
    """
    opened = genome_data(loaded, DataChanges()).open()
    if not isinstance(opened, OpenGenome):
        raise ConfigError(f"{loaded.folder} was not trained on one genome; give a model that was")
    return opened


def model_note(loaded: LoadedModel) -> str:
    """What the model of a table was, for its notes."""
    return (
        f"model: {loaded.num_parameters:,} parameters, step {loaded.step:,}, weights "
        f"{loaded.digest[:12]}"
    )
