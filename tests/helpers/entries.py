"""Settings of entries from a command line, composed and read as the entries do it."""

import hydra
from omegaconf import OmegaConf

from dnamdlm.assembly.building.entry_settings import read_settings
from dnamdlm.assembly.building.model_config import ModelConfig
from dnamdlm.assembly.design.design_settings import DesignSettings
from dnamdlm.assembly.design.designing import design as run_design
from dnamdlm.assembly.design.reward_of_samples import reward_of
from dnamdlm.assembly.diagnosis import DoctorSettings
from dnamdlm.assembly.embed.embed_settings import EmbedSettings
from dnamdlm.assembly.embed.embedding import embed as embed_records
from dnamdlm.assembly.evaluate.evaluate_settings import EvaluateSettings
from dnamdlm.assembly.evaluate.evaluation import evaluate as run_evaluation
from dnamdlm.assembly.exporting import ExportSettings
from dnamdlm.assembly.exporting import export as run_export
from dnamdlm.assembly.finetune.finetune_settings import FinetuneEntry, PredictSettings
from dnamdlm.assembly.finetune.finetuning import finetune as run_finetuning
from dnamdlm.assembly.finetune.prediction import predict as run_prediction
from dnamdlm.assembly.gathering import GatherSettings
from dnamdlm.assembly.gathering import gather as run_gathering
from dnamdlm.assembly.interpret.interpret_settings import InterpretSettings
from dnamdlm.assembly.interpreting import interpret as run_interpreting
from dnamdlm.assembly.judge.judge_settings import JudgeSettings
from dnamdlm.assembly.judge.judging import judge as run_judge
from dnamdlm.assembly.reports import ReportSettings
from dnamdlm.assembly.reports import report as run_report
from dnamdlm.assembly.sample.sample_settings import SampleSettings
from dnamdlm.assembly.sample.sampling import sample as run_sampling
from dnamdlm.assembly.score.score_settings import ScoreEntry
from dnamdlm.assembly.score.scoring import score as run_scoring
from dnamdlm.assembly.slimming import SlimSettings
from dnamdlm.assembly.tracks.locus import tracks as run_tracks
from dnamdlm.assembly.tracks.tracks_settings import TracksSettings
from dnamdlm.assembly.train.train_settings import read_train_settings
from dnamdlm.assembly.train.training_run import train as run_training
from dnamdlm.composing import given_settings
from dnamdlm.setting_files import config_folder

KINDS = {
    "design": DesignSettings,
    "doctor": DoctorSettings,
    "embed": EmbedSettings,
    "evaluate": EvaluateSettings,
    "export": ExportSettings,
    "finetune": FinetuneEntry,
    "interpret": InterpretSettings,
    "gather": GatherSettings,
    "judge": JudgeSettings,
    "predict": PredictSettings,
    "report": ReportSettings,
    "sample": SampleSettings,
    "score": ScoreEntry,
    "slim": SlimSettings,
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


def build_language_model(tree, seed):
    """The model of a training config with random weights."""
    return ModelConfig(tree).build(seed)


def check_tree(tree):
    """Check every key of a training config."""
    read_train_settings(tree).config.check()


def train(tree):
    """`dnamdlm train` with a composed tree."""
    return run_training(read_train_settings(tree))


def _entry(function, name):
    def run(tree):
        return function(read_settings(KINDS[name], tree))

    return run


design = _entry(run_design, "design")
embed = _entry(embed_records, "embed")
evaluate = _entry(run_evaluation, "evaluate")
export = _entry(run_export, "export")
finetune = _entry(run_finetuning, "finetune")
interpret = _entry(run_interpreting, "interpret")
gather = _entry(run_gathering, "gather")
judge = _entry(run_judge, "judge")
predict = _entry(run_prediction, "predict")
report = _entry(run_report, "report")
sample = _entry(lambda settings: run_sampling(settings, reward_of(settings)), "sample")
score = _entry(run_scoring, "score")
tracks = _entry(run_tracks, "tracks")
