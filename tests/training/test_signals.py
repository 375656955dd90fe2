"""What a process remembers of the signals that it gets."""

import os
import signal
import threading

import pytest

from dnamdlm.training import signals
from dnamdlm.training.signals import StopRequest, ignore_stopping_signals, restored_handlers


def test_the_first_signal_counts_and_later_ones_change_nothing():
    with restored_handlers():
        request = StopRequest()
        request.install()
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert request.number == signal.SIGUSR1
        assert not request.is_forced


def test_an_interrupt_repeated_after_a_second_stops_at_once(monkeypatch):
    now = [10.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    request = StopRequest()
    request.receive(signal.SIGINT, None)
    now[0] = 10.9
    request.receive(signal.SIGINT, None)
    assert not request.is_forced
    now[0] = 11.0
    with pytest.raises(KeyboardInterrupt):
        request.receive(signal.SIGINT, None)
    assert request.is_forced


def test_a_worker_ignores_what_is_meant_for_the_trainer():
    with restored_handlers():
        ignore_stopping_signals(0)
        for number in signals.STOPPING_SIGNALS:
            os.kill(os.getpid(), number)


@pytest.mark.parametrize("is_nohup", [True, False])
def test_a_command_of_nohup_outlives_its_terminal(is_nohup):
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN if is_nohup else signal.SIG_DFL)
    try:
        with restored_handlers():
            request = StopRequest()
            request.install()
            os.kill(os.getpid(), signal.SIGHUP)
            assert request.number == (None if is_nohup else signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, kept)


def test_handlers_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with restored_handlers():
        StopRequest().install()
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_thread_that_gets_no_signals_leaves_the_handlers_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work():
        with restored_handlers():
            StopRequest().install()
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
