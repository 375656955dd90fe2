"""What is shown while sequences are generated where there is no terminal."""

from dnamdlm.assembly.sampling_progress import GenerationProgress


class _Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_there_is_one_line_every_ten_seconds_with_rate_and_time_left(caplog):
    clock = _Clock()
    with caplog.at_level("INFO"), GenerationProgress(1_000, clock) as progress:
        for second in range(1, 26):
            clock.now = float(second)
            progress.advance(20)
    assert [record.getMessage() for record in caplog.records] == [
        "200 of 1,000 bases  20 bases/s  40 s left",
        "400 of 1,000 bases  20 bases/s  30 s left",
    ]


def test_nothing_is_said_of_a_short_run_and_reopened_tokens_count_back(caplog):
    clock = _Clock()
    with caplog.at_level("INFO"), GenerationProgress(10, clock) as progress:
        progress.advance(10)
        assert not caplog.records
        clock.now = 20.0
        progress.advance(-10)
    assert caplog.records[0].getMessage() == "0 of 10 bases  0 bases/s  time unknown"
