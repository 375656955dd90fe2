"""Settings of entries from a command line, composed and read as the entries do it."""

import hydra
from omegaconf import OmegaConf

from dnamdlm.assembly.building.entry_settings import read_settings
from dnamdlm.assembly.diagnosis import DoctorSettings
from dnamdlm.assembly.embed.embed_settings import EmbedSettings
from dnamdlm.assembly.evaluate.evaluate_settings import EvaluateSettings
from dnamdlm.assembly.finetune.finetune_settings import FinetuneEntry, PredictSettings
from dnamdlm.assembly.judge.judge_settings import JudgeSettings
from dnamdlm.assembly.reports import ReportSettings
from dnamdlm.assembly.sample.sample_settings import SampleSettings
from dnamdlm.assembly.score.score_settings import ScoreEntry
from dnamdlm.assembly.tracks.tracks_settings import TracksSettings
from dnamdlm.assembly.train.train_settings import read_train_settings
from dnamdlm.command_line import config_folder, given_settings

KINDS = {
    "doctor": DoctorSettings,
    "embed": EmbedSettings,
    "evaluate": EvaluateSettings,
    "finetune": FinetuneEntry,
    "judge": JudgeSettings,
    "predict": PredictSettings,
    "report": ReportSettings,
    "sample": SampleSettings,
    "score": ScoreEntry,
    "tracks": TracksSettings,
}


def composed(name, *overrides):
    """The resolved config tree of an entry."""
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder(name))):
        config = hydra.compose(config_name=name, overrides=list(overrides))
    return OmegaConf.to_container(config, resolve=True)


def settings_of(name, *overrides):
    """The settings object of an entry, every override taken as given by the user."""
    tree, given = composed(name, *overrides), given_settings(overrides)
    if name == "train":
        return read_train_settings(tree, given)
    return read_settings(KINDS[name], tree, given)
