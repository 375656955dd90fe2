"""Rows in halves, rewards of several members, what is kept, and mutation that stays natural."""

import json

import numpy as np
import pytest

from benchmarks.design_audit import NetworkAudit
from benchmarks.design_figures import table_rows
from benchmarks.design_rewards import RewardSettings, reward_note
from benchmarks.design_rows import Halves, NaturalReward, climbed, read_halves
from benchmarks.design_runs import Runs
from benchmarks.design_ways import Maker
from benchmarks.kept_results import kept, of_settings, recorded, worked
from benchmarks.measured_rows import MeasuredRows, RowSettings
from dnamdlm.assembly.models import load_model
from dnamdlm.errors import ConfigError, DataError
from dnamdlm.evaluation.tasks.kmer_oracle import fit_kmer_oracle
from dnamdlm.rewards import CountedReward, FunctionReward
from dnamdlm.rewards.mutation import mutated

PARENTS = ["ACGTACGTAC", "AAAAAAAAAA", "TTTTTTTTTT", "CCAATTAATT"]


def strong(texts):
    return [float(text.count("G") + text.count("C")) for text in texts]


def bits(texts):
    """Above 1 where more than half of the bases are C."""
    return np.array([text.count("C") / (len(text) / 2) for text in texts])


def test_rows_are_halved_by_regions_without_near_copies(tmp_path):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGT"), 44)) for _ in range(260)]
    # the copy of row 0 lies in the other half.
    texts[1] = texts[0][:4] + texts[0][4:-1] + "ACGT"[("ACGT".index(texts[0][-1]) + 1) % 4]
    lines = [f"{text}\t{row - 5}\t{row * 50}" for row, text in enumerate(texts)]
    lines += ["ACGT\t1\t0", f"{texts[5]}\t9\t.", f"{texts[4]}\t1\t0"]
    path = tmp_path / "t.tsv"
    path.write_text("\n".join(["sequence\tvalue\tstart", *lines]) + "\n")
    settings = RowSettings("value", 4, 40, 44, log=True, place="start", region=50)
    found = read_halves(path, settings)
    assert found.design.texts == [text[4:] for text in texts[::2]]
    assert found.audit.texts == [text[4:] for text in texts[3::2]]
    np.testing.assert_allclose(
        found.audit.values, np.log1p(np.maximum(np.arange(3, 260, 2) - 5, 0)), rtol=1e-12
    )
    assert list(found.left_out.values()) == [1, 1, 1, 1]
    with pytest.raises(DataError, match="has no column other"):
        read_halves(path, RowSettings("other", 0, 44, 44))
    with pytest.raises(DataError, match="each half needs 100"):
        read_halves(path, RowSettings("value", 0, 30, 30))


def test_mutation_within_naturalness_is_mutation_without_what_is_refused():
    def refusing(texts):
        return np.where(bits(texts) <= 1, strong(texts), -1e9)

    within = NaturalReward(FunctionReward(strong, "n"), bits, 1.0, len(PARENTS))
    found = mutated(PARENTS, within, calls=400, seed=2)[0]
    expected = mutated(PARENTS, FunctionReward(refusing, "n"), calls=400, seed=2)[0]
    assert found == expected
    assert (bits(found) <= 1).all()
    assert np.mean(strong(found)) > np.mean(strong(PARENTS)) + 3
    # most children are worse than what is kept, and their bits do not count.
    assert within.asked < 200


def test_lines_climb_by_themselves_and_stay_natural():
    counted = CountedReward(FunctionReward(strong, "n"))
    found = climbed(PARENTS, counted, bits, 1.0, calls=402, seed=2)
    assert found.rewards == counted.sequences == 400
    assert (bits(found.texts) <= 1).all()
    assert (np.array(strong(found.texts)) >= strong(PARENTS)).all()
    assert np.mean(strong(found.texts)) > np.mean(strong(PARENTS)) + 3
    assert 0 < found.asked < 400


def test_a_cell_is_the_mean_and_the_deviation_over_seeds():
    seeds = [
        {"rows": [{"name": "way", "reward_mean": value, "network_calls": 10, "seconds": value}]}
        for value in (1.0, 2.0, 3.0)
    ]
    (row,) = table_rows(seeds)
    assert row[:2] == ("way", "2.000 +- 1.000")
    assert row[-3:] == ("10", None, "2")
    assert row[2] is None


def test_results_of_other_settings_are_not_taken_for_those_that_are_wanted(tmp_path):
    folder = tmp_path / "runs"
    recorded(folder, {"steps": 600, "set": ["a=1"]})
    recorded(folder, {"steps": 600, "set": ["a=1"]})
    with pytest.raises(ConfigError, match="made with steps=600, and steps=300 is given now"):
        recorded(folder, {"steps": 300, "set": ["a=1"]})
    with pytest.raises(ConfigError, match="made with draws=None, and draws=5 is given now"):
        recorded(folder, {"steps": 600, "set": ["a=1"], "draws": 5})
    with pytest.raises(ConfigError, match=r"made with set=\['a=1'\], and set=None"):
        recorded(folder, {"steps": 600})
    first, second = (of_settings(folder, {"ways": ("x", "y"), "heads": n}) for n in (1, 2))
    assert first != second
    assert of_settings(folder, {"heads": 1, "ways": ("x", "y")}) == first
    assert json.loads((first / "settings.json").read_text())["heads"] == 1


def test_a_folder_of_an_earlier_version_is_refused(tmp_path):
    (tmp_path / "choice.json").write_text("{}\n")
    with pytest.raises(ConfigError, match="holds files without the settings"):
        recorded(tmp_path, {"steps": 600})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["choice.json"]


def test_pieces_are_done_once_in_order_and_may_read_those_before(tmp_path):
    made = []

    def piece(name):
        path = tmp_path / name
        return path, lambda: made.append(kept(path, lambda: name))

    def pieces():
        yield piece("a")
        yield piece(json.loads((tmp_path / "a").read_text()) + "b")
        yield piece("c")

    assert not worked(pieces(), 1)
    assert made == ["a"]
    assert not worked(pieces(), 1)
    assert worked(pieces(), 1)
    assert made == ["a", "ab", "c"]
    assert worked(pieces(), 0)
    assert worked(pieces())
    assert made == ["a", "ab", "c"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"heads": 0}, "--ensemble 0 leaves no reward"),
        ({"heads": -1, "words": True}, "--ensemble -1 leaves no reward"),
        ({"caution": 1.0}, "there is one member"),
        ({"heads": 2, "caution": -1.0}, "--caution -1 must be"),
        ({"finetune": ("epochs",)}, "--finetune epochs must be KEY=VALUE"),
        ({"finetune": ("seeds=3",)}, "this benchmark sets seeds itself"),
        ({"heads": 0, "words": True, "finetune": ("kmer=5",)}, "no effect with --ensemble 0"),
        ({"words": True, "finetune": ("transform=rank",)}, "predicts another unit"),
    ],
)
def test_a_reward_that_cannot_be_made_is_one_sentence(given, message):
    with pytest.raises(ConfigError, match=message) as found:
        RewardSettings(**given)
    assert "\n" not in str(found.value)


def test_a_reward_says_what_it_is_made_of():
    assert RewardSettings().suffix == ""
    several = RewardSettings(8, 3, 0.5, words=True, finetune=("training.epochs=9",))
    assert several.suffix == "-3-heads-words-caution-0-5-training-epochs-9"
    assert several.training == {"training.epochs": "9"}
    note = reward_note(several, [0.2, 0.25])
    assert note.startswith(
        "reward of each seed: 3 fine-tuned heads and a ridge regression on words, the mean minus "
        "0.5 standard deviations of these; training.epochs=9; it shares its architecture"
    )
    assert note.endswith("other half: 0.20, 0.25")
    assert reward_note(RewardSettings(), [0.2]).startswith(
        "reward of each seed: 1 fine-tuned head; training.epochs=4; correlation"
    )


def measured_rows(count, seed, length=24):
    rng = np.random.default_rng(seed)
    texts = ["".join(rng.choice(list("ACGT"), length)) for _ in range(count)]
    return MeasuredRows(texts, np.array([text.count("TA") + 0.0 for text in texts]))


def test_words_alone_need_no_model(tmp_path):
    rows, none = measured_rows(200, 0), tmp_path / "none"
    settings = RewardSettings(heads=0, words=True)
    found = settings.made(none, none, none, rows, seed=3)
    wanted = fit_kmer_oracle(rows.texts, rows.values, seed=103)
    np.testing.assert_array_equal(found.batch(rows.texts), wanted.batch(rows.texts))
    assert not none.exists()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The runs of a table, small, with a reward of two heads and words."""
    folder = tmp_path_factory.mktemp("runs")
    halves = Halves(measured_rows(120, 1), measured_rows(120, 2), {})
    settings = RewardSettings(
        1, 2, 1.0, words=True, finetune=("training.learning_rate=0.01", "threads=1")
    )
    small = ("backbone.hidden_size=16", "backbone.num_blocks=1", "backbone.local_radius=0",
             "trainer.valid_windows=8", "trainer.checkpoint_every=2")  # fmt: skip
    return Runs(folder, folder / "results", halves, 2, small, settings, 40, 3)


@pytest.mark.slow
def test_the_heads_of_an_ensemble_differ_within_and_between_seeds(runs):
    texts = runs.halves.audit.texts[:5]
    found = [runs.reward(seed) for seed in (0, 1)]
    heads = [list((runs.results / f"reward_{seed}").glob("splits/model_seed_*")) for seed in (0, 1)]
    assert [sorted(path.name for path in item) for item in heads] == [
        ["model_seed_0", "model_seed_1"], ["model_seed_2", "model_seed_3"],
    ]  # fmt: skip
    for reward in found:
        values = np.array([term.batch(texts) for term in reward.terms])
        assert len(np.unique(values, axis=0)) == len(values) == 3
        np.testing.assert_allclose(reward.batch(texts), values.mean(axis=0) - values.std(axis=0))


@pytest.mark.slow
def test_fine_tuning_on_the_reward_is_kept_and_says_what_it_took(runs):
    tuned = runs.tuned(1, 0.5)
    drawn = runs.drawn()
    assert len(drawn["sequences"]) == runs.draws
    # 16 steps at most for each draw, and three calls for each of 64 rows of three steps.
    assert 0 < drawn["network_calls"] <= 16 * runs.draws
    assert tuned.network_calls == drawn["network_calls"] + 3 * 3 * 64
    assert tuned.rewards == runs.draws
    assert tuned.seconds > drawn["seconds"]
    reward = runs.reward(1)
    lines = (runs.results / "tilted_1.tsv").read_text().splitlines()[1:]
    texts = [line.split("\t")[0] for line in lines]
    assert texts == drawn["sequences"]
    np.testing.assert_allclose([float(line.split("\t")[1]) for line in lines], reward.batch(texts))
    data = tuned.loaded.config.data
    spread = reward.batch(runs.halves.design.texts).std()
    np.testing.assert_allclose(data.temperature, 0.5 * spread)
    before = load_model(str(runs.folder / "plain")).lm.state_dict()
    moved = [
        float((value - before[name]).abs().max())
        for name, value in tuned.loaded.lm.state_dict().items()
    ]
    # three steps at a rate of 0.001 in the first of a warm-up: near the model that it began as.
    assert 0 < max(moved) < 0.05
    times = {path: path.stat().st_mtime_ns for path in runs.results.rglob("*")}
    maker = Maker(runs, reward, 1, 2)
    plain, steered = maker.tuned(0.5), maker.tuned_steered(0.5, "gradient", 0.2)
    assert {path: path.stat().st_mtime_ns for path in runs.results.rglob("*")} == times
    for made, least in ((plain, 0), (steered, 1)):
        assert len(made.sequences) == 2
        assert made.network_calls > tuned.network_calls
        assert made.rewards >= runs.draws + least
    assert plain.rewards == runs.draws
    assert steered.network_calls > plain.network_calls


@pytest.mark.slow
def test_models_of_a_table_begin_as_that_of_the_genome(tmp_path):
    genome = tmp_path / "g.fa"
    genome.write_text(
        ">one\n" + "".join(np.random.default_rng(8).choice(list("ACGT"), 4000)) + "\n"
    )
    halves = Halves(measured_rows(120, 1), measured_rows(120, 2), {})
    small = ("backbone.hidden_size=16", "backbone.num_blocks=1", "trainer.valid_windows=8",
             "trainer.checkpoint_every=2")  # fmt: skip
    runs = Runs(tmp_path, tmp_path / "results", halves, 2, small, RewardSettings(), 40, 3, genome)
    assert runs.numbers.step == runs.plain.step == runs.classes.step == 2
    (step,) = (tmp_path / "genome" / "checkpoints").iterdir()
    assert step.name == "step_000000002"
    for name in ("numbers", "plain", "classes"):
        given = runs.done(name).read_text().splitlines()
        assert f"init_from={tmp_path / 'genome'}" in given
        assert {"backbone.local_radius=8", "backbone.attention_window=0"} <= set(given)


@pytest.mark.slow
def test_a_network_reads_the_audit_half_alone(tmp_path):
    halves = Halves(measured_rows(100, 3), measured_rows(140, 4), {})
    audit = NetworkAudit(tmp_path, halves, 8, 1, steps=3, epochs=1)
    made = {"first": halves.design.texts[:3], "second": ["A" * 24, "C" * 24]}
    assert worked(audit.pieces(), most=1) is False
    assert worked(audit.pieces())
    assert (tmp_path / "audit_half.tsv").read_text().splitlines()[1:] == [
        f"{text}\t{value!r}"
        for text, value in zip(halves.audit.texts, halves.audit.values.tolist(), strict=True)
    ]
    found = audit.figures(5, made)
    assert list(found) == ["first", "second"]
    values = audit.oracle.batch(made["first"])
    assert found["first"]["network_mean"] == pytest.approx(np.mean(values), rel=1e-6)
    # one letter has one order.
    one = found["second"]
    assert one["network_shuffled"] == pytest.approx(one["network_mean"], rel=1e-5)
    predicted = np.array(audit.oracle.batch(halves.design.texts))
    wanted = np.corrcoef(predicted, halves.design.values)[0, 1]
    assert audit.pearson == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    above = values > np.percentile(predicted, 99)
    assert found["first"]["network_above_99"] == np.mean(above)
    assert f"correlation {audit.pearson:.2f} with the measurements of the design half" in (
        audit.note()
    )
    other = NetworkAudit(tmp_path, halves, 8, 1, steps=4, epochs=1)
    with pytest.raises(ConfigError, match=r"max_steps=3, trainer\.max_steps=4; give the same"):
        other.figures(5, made)
