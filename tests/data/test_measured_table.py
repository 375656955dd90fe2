"""Tables of measured sequences: rows, numbers and splits, and the files that are refused."""

import math

import numpy as np
import pytest
import torch

from dnamdlm.data.tasks.measured_table import MeasuredTable
from dnamdlm.data.tasks.number_scales import NumberScale
from dnamdlm.errors import CheckpointError, ConfigError, DataError
from dnamdlm.tokens.nucleotide import NucleotideTokenizer

LETTERS = np.random.default_rng(3).choice(list("ACGT"), (40, 8))
SEQUENCES = ["".join(row)[: 5 + place % 4] for place, row in enumerate(LETTERS)]
VALUES = [f"{place * 0.5:g}" if place % 5 else "" for place in range(40)]
OTHERS = ["NA" if place % 3 else str(place) for place in range(40)]


def _write(path, columns):
    rows = zip(*columns.values(), strict=True)
    path.write_text("\t".join(columns) + "\n" + "".join("\t".join(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    split = ["train"] * 24 + ["validation"] * 8 + ["test"] * 8
    columns = {"name": [f"n{i}" for i in range(40)], "seq": SEQUENCES, "activity": VALUES,
               "other": OTHERS, "set": split}  # fmt: skip
    return _write(folder / "few.tsv", columns)


def _settings(table, **changes):
    settings = {"numbers": ("activity", "other"), "length": 8, "split_column": "set"}
    return MeasuredTable(str(table), cache_dir=str(table.parent / "cache"), **settings | changes)


def _shown(batch):
    decode = NucleotideTokenizer().decode
    return [
        decode(tokens[present].numpy())
        for tokens, present in zip(batch.tokens, batch.present, strict=True)
    ]


def test_training_rows_are_whole_sequences_with_their_numbers_standardised(table):
    opened = _settings(table).open()
    batch = opened.training_stream(0, 24).batch(0)
    known = np.array([float(text) for text in VALUES[:24] if text])
    others = np.array([float(text) for text in OTHERS[:24] if text != "NA"])
    # an epoch: each row once, whatever the order.
    assert sorted(_shown(batch)) == sorted(SEQUENCES[:24])
    for text, (first, second) in zip(_shown(batch), batch.label.tolist(), strict=True):
        row = SEQUENCES.index(text)
        for found, given, all_known in (
            (first, VALUES[row], known), (second, OTHERS[row].replace("NA", ""), others),
        ):  # fmt: skip
            if not given:
                assert math.isnan(found)
                continue
            expected = (float(given) - all_known.mean()) / all_known.std()
            # the network reads float32.
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert torch.equal(batch.valid, batch.present)
    assert opened.training_stream(0, 8).batch(2).key.tolist() == batch.key[16:].tolist()


def test_a_sweep_has_each_row_of_its_split_once_with_its_numbers(table):
    opened = _settings(table).open()
    batches = list(opened.evaluation_windows("valid").batches(3))
    shown = [text for batch in batches for text in _shown(batch)]
    assert shown == SEQUENCES[24:32]
    label = torch.cat([batch.label for batch in batches])
    assert label.isnan()[:, 0].tolist() == [not text for text in VALUES[24:32]]
    assert label.isnan()[:, 1].tolist() == [text == "NA" for text in OTHERS[24:32]]
    described = opened.describe()
    assert described["split_rule"] == "column set"
    assert [entry["name"] for entry in described["numbers"]] == ["activity", "other"]
    assert described["num_training_windows"] == 24


def test_turned_rows_are_reverse_complements_without_their_padding(table):
    opened = _settings(table, reverse_complement=True).open()
    complement = str.maketrans("ACGT", "TGCA")
    found = set(_shown(opened.training_stream(0, 96).batch(0)))
    ahead = set(SEQUENCES[:24])
    back = {text.translate(complement)[::-1] for text in SEQUENCES[:24]}
    assert found <= ahead | back
    # of 96 rows, four epochs, about half are turned.
    assert found & (ahead - back)
    assert found & (back - ahead)


def test_equal_sequences_share_a_split_that_depends_on_letters_and_seed_alone(table, tmp_path):
    twice = SEQUENCES + [text.lower() for text in SEQUENCES[::-1]]
    columns = {"sequence": twice, "y": [str(place) for place in range(80)]}
    path = _write(tmp_path / "twice.tsv", columns)

    def splits(**changes):
        settings = {"numbers": "y", "length": 8, "valid_fraction": 0.3, "test_fraction": 0.3}
        opened = MeasuredTable(
            str(path), cache_dir=str(table.parent / "cache"), **settings | changes
        ).open()
        found = {}
        for name in ("train", "valid", "test"):
            for interval in opened.splits[name]:
                found.setdefault(twice[int(interval.chrom[4:]) - 1].upper(), set()).add(name)
        return found

    found = splits()
    assert all(len(names) == 1 for names in found.values())
    assert {name for names in found.values() for name in names} == {"train", "valid", "test"}
    assert splits(split_seed=1) != found


def test_what_is_learned_from_decides_the_fingerprint(table):
    prints = {
        _settings(table, **changes).open().fingerprint()
        for changes in ({}, {"numbers": "other"}, {"transform": "rank"}, {"length": 9},
                        {"reverse_complement": True}, {"split_column": None})
    }  # fmt: skip
    assert len(prints) == 6
    assert _settings(table).open().fingerprint() in prints


def test_scales_pass_through_a_checkpoint_and_know_quantiles():
    values = np.array([3.0, np.nan, 0.0, 1.0, 2.0])
    for transform in (None, "log1p", "rank"):
        scale = NumberScale.of("y", values, transform)
        assert NumberScale.stored(scale.record()) == scale
        assert (scale.low, scale.high, scale.count) == (0.0, 3.0, 4)
        assert scale.at_quantile(0.5) == 1.5
        found = scale.standardised_all(np.array([0.0, 1.0, 2.0, 3.0]))
        # the rank is that among 1001 quantiles.
        assert abs(found.mean()) < 1e-3
        assert found.std() == pytest.approx(1.0, abs=1e-3 if transform == "rank" else 1e-12)
        assert math.isnan(scale.standardised(math.nan))
    log = NumberScale.of("y", values, "log1p")
    assert log.standardised(1.0) == pytest.approx(
        (math.log(2) - np.log([1, 2, 3, 4]).mean()) / np.log([1, 2, 3, 4]).std(), rel=1e-12
    )


@pytest.mark.parametrize(
    "change", [{"scale": 0.0}, {"mean": "x"}, {"quantiles": [1.0]}, {"transform": "sqrt"}]
)
def test_a_damaged_record_of_a_number_is_refused(change):
    record = NumberScale.of("y", np.array([1.0, 2.0]), None).record()
    with pytest.raises(CheckpointError):
        NumberScale.stored(record | change)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"numbers": "activitx"}, r"no column 'activitx' in .* \(did you mean activity\?\)"),
        ({"numbers": "seq"}, "row 1 of .* as 'seq'; give a number"),
        ({"length": 7}, "has a sequence of 8 bases, and data.length=7; .* data.length=8"),
        ({"split_column": "name"}, "row 1 of .* has 'n0' as 'name'; allowed are train"),
        ({"transform": "log1p", "numbers": "low"}, "has the value -2, and log1p needs"),
        ({"numbers": "flat"}, "'flat' has one value in all rows"),
        ({"numbers": "huge"}, "'1e308' as 'huge'; give a number between -1e18 and 1e18, or leave"),
        ({"numbers": "endless"}, "'-inf' as 'endless'; give a number between -1e18 and 1e18, or"),
        ({"sequence_column": "set"}, "sequence 1 "),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(table, tmp_path, changes, message):
    columns = {
        "name": [f"n{i}" for i in range(40)], "seq": SEQUENCES, "activity": VALUES,
        "low": [str(i - 2) for i in range(40)], "flat": ["1"] * 40, "huge": ["1e308"] * 40,
        "endless": ["-inf"] * 40,
        "set": ["train"] * 40,
    }  # fmt: skip
    path = _write(tmp_path / "odd.tsv", columns)
    settings = {"numbers": "activity", "length": 8, "split_column": "set"} | changes
    with pytest.raises(DataError, match=message) as found:
        MeasuredTable(str(path), cache_dir=str(table.parent / "cache"), **settings).open()
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"numbers": ()}, "must name one column"),
        ({"numbers": ("y", "y")}, "each once"),
        ({"table": "x.fa.gz"}, "is a FASTA file"),
        ({"table": ""}, "data.table is empty"),
        ({"transform": "sqrt"}, "data.transform=sqrt must be"),
        ({"valid_fraction": 0.6, "test_fraction": 0.5}, "leave nothing to train on"),
    ],
)
def test_settings_out_of_range_are_refused_before_a_file_is_read(changes, message):
    settings = {"table": "none.csv", "numbers": "y", "length": 8} | changes
    with pytest.raises(ConfigError, match=message):
        MeasuredTable(**settings)
