"""Ctrl-C ends the demo whatever step it meets."""

import os
import signal
from contextlib import suppress

import pytest

from services.cli.demo import _interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_a_step_swallows_still_ends_the_demo(number: signal.Signals) -> None:
    with _interrupts() as interrupts:
        interrupts.heed()
        with suppress(BaseException):  # as a library's bare `except:` around an optional import
            os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt):
            interrupts.heed()
        with pytest.raises(KeyboardInterrupt):
            interrupts.wait()


def test_while_the_demo_stops_another_signal_changes_nothing() -> None:
    before = signal.getsignal(signal.SIGINT)
    with _interrupts() as interrupts:
        interrupts.ignore()
        os.kill(os.getpid(), signal.SIGINT)
        interrupts.heed()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_shell_that_has_it_ignore_interrupts_is_overruled() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with _interrupts(), pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
