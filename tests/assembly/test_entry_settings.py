"""One settings class per entry: its fields are the keys of its YAML file, with their defaults."""

import dataclasses

import pytest

from dnamdlm.assembly.building.entry_settings import OF_COMMAND, SUPPLIED, keys_of, read_settings
from dnamdlm.assembly.building.without_effect import changed_from_default, reasons_of
from dnamdlm.errors import ConfigError
from tests.helpers.entries import KINDS, composed, settings_of

# what has to be given, with values that need no file.
GIVEN = {
    "design": ["model=x", "reward=y", "out=x.fa"],
    "doctor": [],
    "embed": ["model=x", "out=x.npz", "data.fasta=x.fa"],
    "evaluate": ["model=x"],
    "export": ["model=x", "out=y"],
    "finetune": ["config=table", "data.train=x.csv", "model=x", "run_dir=x"],
    "interpret": ["model=x", "out=x", "locus=a:0-9"],
    "gather": ["out=x.tsv"],
    "judge": ["samples=x.fa", "reference=y.fa"],
    "predict": ["model=x", "input=x.fa", "out=x.tsv"],
    "report": ["run_dir=x"],
    "sample": ["model=x", "out=x.fa"],
    "score": ["model=x", "variants=x.vcf", "out=x.tsv", "data.fasta=x.fa"],
    "slim": ["run_dir=x", "out=y"],
    "tracks": ["model=x", "locus=a:0-9", "out=x.tsv"],
}


def defaults_of(kind):
    found = {}
    for field in dataclasses.fields(kind):
        if field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return {name: value for name, value in found.items() if name not in SUPPLIED}


@pytest.mark.parametrize("name", KINDS)
def test_the_yaml_file_and_the_class_of_an_entry_have_the_same_keys_and_defaults(name):
    tree = composed(name, *GIVEN[name])
    kind = KINDS[name]
    assert set(tree) - set(OF_COMMAND) == set(keys_of(kind))
    settings, defaults = settings_of(name, *GIVEN[name]), defaults_of(kind)
    given = {item.split("=")[0].split(".")[0] for item in GIVEN[name]}
    for key, value in defaults.items():
        if key not in given:
            assert getattr(settings, key) == value, key


def test_a_key_is_known_or_refused_with_the_nearest_name():
    tree = composed("evaluate", "model=x")
    with pytest.raises(ConfigError, match=r"splti is not a setting \(did you mean split\?\)"):
        read_settings(KINDS["evaluate"], tree | {"splti": "test"})
    with pytest.raises(ConfigError, match=r"data\.fsta is not a setting"):
        read_settings(KINDS["evaluate"], tree | {"data": tree["data"] | {"fsta": "x"}})
    del tree["split"]
    with pytest.raises(ConfigError, match="split is not set; give it as split=VALUE"):
        read_settings(KINDS["evaluate"], tree)


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("evaluate", "draws=0", "draws=0 must be at least 1"),
        ("evaluate", "draws=many", "draws=many is not allowed"),
        ("evaluate", "split=all", "split=all is unknown; choose train, valid or test"),
        ("evaluate", "max_order=25", "max_order=25 must be at most 24"),
        ("evaluate", "repeat_length=32", "repeat_length=32 must be at most 31"),
        ("evaluate", "debug=3", "debug=3 is not allowed"),
        ("sample", "top_p=0.0", "top_p=0.0 must be above 0"),
        ("sample", "noise_level=0.0", "noise_level=0.0 must be above 0"),
        ("sample", "noise_level=1.5", "noise_level=1.5 must be at most 1"),
        ("sample", "seed=-1", "seed=-1 must be at least 0"),
        ("sample", "temperature=0.0", "temperature=0.0 must be above 0"),
        ("embed", "pooling=median", "pooling=median is unknown"),
        ("judge", "infill_windows=-1", "infill_windows=-1 must be at least 0"),
        ("finetune", "baselines=[kmer,x]", "baselines=x is unknown"),
        ("design", "gc=[0.4]", "gc=[0.4] is not allowed"),
        ("design", "gc=[0.4,1.5]", "gc=1.5 must be at most 1"),
        ("design", "reward=7", "reward=7 is not allowed"),
        ("design", "pool=3", "pool=3 is smaller than num_sequences=16"),
        ("design", "most_draws=3", "most_draws=3 is smaller than the pool of 16"),
        ("design", "audit=kmer", "audit=kmer is fitted on natural sequences"),
        ("score", "max_mismatch=2", "max_mismatch=2 must be at most 1"),
    ],
)
def test_a_value_out_of_range_is_one_sentence(name, override, message):
    with pytest.raises(ConfigError) as found:
        settings_of(name, *GIVEN[name], override)
    assert str(found.value).startswith(message)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("name", "overrides", "setting"),
    [
        ("sample", ["flank=5"], "flank"),
        ("sample", ["guide_order=first_order"], "guide_order"),
        ("sample", ["noise_level=0.5"], "noise_level"),
        ("sample", ["sampler=renoise", "sampler.sites=2"], r"sampler\.sites"),
        ("embed", ["bin_size=64"], "bin_size"),
        ("score", ["scores=[llr]", "draws=2"], "draws"),
        ("judge", ["split=valid"], "split"),
        ("sample", ["guesses=2"], "guesses"),
        ("sample", ["population=3"], "population"),
        ("design", ["pool=32"], "pool"),
        ("design", ["proposal=first_order"], "proposal"),
        ("design", ["unlike_share=0.2"], "unlike_share"),
        ("design", ["baselines=false"], "baselines"),
        ("design", ["natural_column=y"], "natural_column"),
        ("design", ["audit_class=y"], "audit_class"),
        ("judge", ["infill_windows=2"], "infill_windows"),
        ("sample", ["sampler=remask", "sampler.begin=0.9"], r"sampler\.begin"),
        ("sample", ["sampler=remask", "sampler.strength=3.0"], r"sampler\.strength"),
        (
            "sample",
            ["sampler=remask", "sampler.strategy=loop", "sampler.grid=cosine"],
            r"sampler\.grid",
        ),
        ("finetune", ["lora_rank=4"], "lora_rank"),
        ("finetune", ["probe=ridge"], "probe"),
        ("finetune", ["baselines=[cnn]", "kmer=5"], "kmer"),
    ],
)
def test_a_setting_that_is_given_and_has_no_effect_is_refused(name, overrides, setting):
    with pytest.raises(ConfigError, match=f"^{setting} was given but has no effect: .+; leave it"):
        settings_of(name, *GIVEN[name], *overrides)


def test_a_setting_without_effect_may_stand_in_a_recipe():
    tree = composed("finetune", "config=gue", "model=x", "run_dir=x", "lora_rank=4")
    settings = read_settings(KINDS["finetune"], tree, given=())
    assert settings.lora_rank == 4
    assert "lora_rank" in reasons_of(settings)


def test_what_differs_from_its_default_counts_as_given_in_python():
    kind = KINDS["sample"]
    settings = kind(model="x", out="y", length=30, top_p=0.5)
    assert changed_from_default(settings) == {"length", "top_p"}


@pytest.mark.parametrize(
    ("overrides", "setting"),
    [
        (["lm=ar", "backbone=ar", "noise=cosine"], "noise"),
        (["lm=ar", "backbone=ar", "times=importance"], "times"),
        (["lm=ar", "backbone=ar", "noise.floor=0.001"], "noise"),
        (["lm.label_dropout=0.3"], r"lm\.label_dropout"),
        (["backbone.cond_size=32"], r"backbone\.cond_size"),
        (["backbone.local_size=32"], r"backbone\.local_size"),
        (["backbone=caduceus_ps", "backbone.cond_size=32"], r"backbone\.cond_size"),
    ],
)
def test_a_setting_of_a_model_without_effect_is_refused_when_it_is_built(overrides, setting):
    settings = settings_of("train", "config=tiny", *overrides)
    with pytest.raises(ConfigError, match=f"^{setting}.* was given but has no effect: .+; leave"):
        settings.config.build(1, given=settings.given)
    # the same values in a recipe are nobody's mistake.
    settings.config.build(1)
