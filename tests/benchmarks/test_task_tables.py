"""Rows of the table of prediction tasks."""

from benchmarks.quality.genomic_benchmarks import published_rows, rows_of, wants_random


def test_the_area_is_shown_where_the_task_has_one_and_published_areas_are_labelled():
    figures = {"mcc": {"mean": 0.5, "max_minus_min": 0.1}, "auroc": {"mean": 0.8}}
    split = {
        "predictor": "model", "valid": {"mcc": 0.4}, "seconds": 1.0,
        "test_without_leaks": {"intervals": {"auroc": [0.70049, 0.9]}},
    }  # fmt: skip
    leaked = {**figures, "auroc": {"mean": 0.9}}
    result = {
        "metric": "mcc",
        "method": "probe",
        "splits": [split],
        "summary": {"model": {"test": leaked, "test_without_leaks": figures}},
        "leaks": {"any": 3, "rows": 9},
    }
    (row,) = rows_of("prom_core_tata", [result], [[]])
    assert row == (
        "prom_core_tata", "model", "probe", "", "mcc", 0.5, 0.1, 0.5, 0.8, "0.700 to 0.900", 3, 9,
        1.0, None,
    )  # fmt: skip
    del figures["auroc"], split["test_without_leaks"]["intervals"]["auroc"]
    assert rows_of("prom_core_tata", [result], [[]])[0][8:10] == (None, None)
    published = published_rows("prom_core_tata")
    assert [len(line) for line in published] == [len(row)] * 3
    assert {line[2] for line in published} == {"published"}
    assert published_rows("human_ocr_ensembl") == []


def test_random_weights_are_fitted_at_every_point_unless_they_are_left_out():
    assert wants_random(["strand=one"])
    assert wants_random(["baselines=[kmer,random_weights]"])
    assert not wants_random(["baselines=[]"])
    assert not wants_random(["baselines=[random_weights]", "baselines=[kmer]"])


def test_the_point_of_a_sweep_is_chosen_by_validation_for_each_kind_of_weights():
    def result(values):
        splits = [
            {"predictor": name, "valid": {"mse": value}, "seconds": 1.0,
             "test_without_leaks": {"intervals": {}}}
            for name, value in values.items()
        ]  # fmt: skip
        summary = {
            name: {part: {"mse": {"mean": 10 * value, "max_minus_min": 0.0}}
                   for part in ("test", "test_without_leaks")}
            for name, value in values.items()
        }  # fmt: skip
        return {"metric": "mse", "method": "full", "splits": splits, "summary": summary,
                "leaks": {"any": 0, "rows": 9}}  # fmt: skip

    first = result({"model": 0.5, "random_weights": 0.3, "kmer": 0.4})
    second = result({"model": 0.2, "random_weights": 0.6})
    rows = {row[1]: row for row in rows_of("t", [first, second], [["a=1"], ["a=2"]])}
    assert {name: row[3] for name, row in rows.items()} == {
        "model": "a=2", "random_weights": "a=1", "kmer": ""
    }  # fmt: skip
    assert [row[5] for row in rows.values()] == [2.0, 3.0, 4.0]
