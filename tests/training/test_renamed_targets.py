"""Configs of earlier versions are read under the names of today."""

import importlib

import pytest

from dnamdlm.training.renamed_targets import _RENAMED, with_present_names


@pytest.mark.parametrize("name", sorted(set(_RENAMED.values())))
def test_every_present_name_is_that_of_a_class(name):
    module, _, attribute = name.rpartition(".")
    assert isinstance(getattr(importlib.import_module(module), attribute), type)


def test_targets_and_keys_of_an_old_config_get_their_present_names():
    old = {
        "seed": 1,
        "data": {
            "_target_": "dnamdlm.data.source.GenomeData",
            "fasta": "g.fa",
            "bring": "python -m data_prep.hg38 out=data/hg38",
        },
        "files": [{"bring": None}],
    }
    assert with_present_names(old) == {
        "seed": 1,
        "data": {
            "_target_": "dnamdlm.data.genome.genome_settings.GenomeData",
            "fasta": "g.fa",
            "download_command": "python -m data_prep.hg38 out=data/hg38",
        },
        "files": [{"download_command": None}],
    }
