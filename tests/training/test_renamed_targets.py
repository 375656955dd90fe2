"""Configs of earlier versions name classes where they were; what they name is still found."""

import pytest

from dnamdlm.assembly.building.class_targets import TARGET, resolve_target
from dnamdlm.training.renamed_targets import with_present_names

# the classes that configs of version 0.1.0 before the rooms were laid out could hold.
OLD = [
    "dnamdlm.backbones.autoregressive.CausalTransformer", "dnamdlm.backbones.bert.Bert",
    "dnamdlm.backbones.bidirectional.Mamba", "dnamdlm.backbones.caduceus.CaduceusPS",
    "dnamdlm.backbones.dit.DiT", "dnamdlm.data.glue.Glue", "dnamdlm.data.mixture.GenomeMixture",
    "dnamdlm.data.source.GenomeData", "dnamdlm.data.tasks.GenomicBenchmarks",
    "dnamdlm.data.tasks.Gue", "dnamdlm.data.tasks.NucleotideTransformer",
    "dnamdlm.data.tasks.Table", "dnamdlm.data.text.TextData",
    "dnamdlm.diffusion.schedules.LogLinear", "dnamdlm.diffusion.times.Stratified",
    "dnamdlm.lm.causal.CausalLM", "dnamdlm.lm.classifier.NoisyClassifier",
    "dnamdlm.lm.masked.MaskedDiffusionLM", "dnamdlm.lm.objectives.ExactCount",
    "dnamdlm.lm.objectives.ScoreEntropy", "dnamdlm.training.finetuning.FinetuneSettings",
    "dnamdlm.training.optimizers.AdamWSettings", "dnamdlm.training.settings.ResumeSettings",
    "dnamdlm.training.settings.TrainerSettings",
]  # fmt: skip


@pytest.mark.parametrize("name", OLD)
def test_a_class_is_found_under_the_name_that_it_had(name):
    tree = with_present_names({"a": [{TARGET: name, "b": 3}]})
    (node,) = tree["a"]
    assert node["b"] == 3
    found = resolve_target(node[TARGET], "a")
    assert found.__name__ == name.rpartition(".")[2]


def test_other_names_and_values_stay():
    tree = {TARGET: "mynet.Net", "fasta": "dnamdlm.data.source.GenomeData", "n": None}
    assert with_present_names(tree) == tree
