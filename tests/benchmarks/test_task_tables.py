"""Rows of the table of prediction tasks."""

from benchmarks.quality.genomic_benchmarks import published_rows, rows_of


def test_the_area_is_shown_where_the_task_has_one_and_published_areas_are_labelled():
    figures = {"mcc": {"mean": 0.5, "max_minus_min": 0.1}, "auroc": {"mean": 0.8}}
    split = {"predictor": "model", "valid": {"mcc": 0.4}, "seconds": 1.0}
    result = {
        "metric": "mcc",
        "method": "probe",
        "splits": [split],
        "summary": {"model": {"test": figures, "test_without_leaks": figures}},
        "leaks": {"any": 3, "rows": 9},
    }
    (row,) = rows_of("prom_core_tata", [result], [[]])
    assert row == ("prom_core_tata", "model", "probe", "", "mcc", 0.5, 0.1, 0.5, 0.8, 3, 9, 1.0)
    del figures["auroc"]
    assert rows_of("prom_core_tata", [result], [[]])[0][8] is None
    published = published_rows("prom_core_tata")
    assert [len(line) for line in published] == [len(row)] * 3
    assert {line[2] for line in published} == {"published"}
    assert published_rows("human_ocr_ensembl") == []
