"""What asks a run to stop, and when it does."""

import os
import signal
import time

import pytest

from llumi_jax.cli import UserError
from llumi_jax.training import options
from llumi_jax.training.signals import Stopped, StopRequest


def soon(stop: StopRequest) -> bool:
    deadline = time.monotonic() + 10
    while not stop.requested and time.monotonic() < deadline:
        time.sleep(0.05)
    return stop.requested


def test_one_process_stops_on_its_own_signal():
    with StopRequest() as stop:
        stop.check()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            stop.check()


def test_several_stop_when_all_have_heard():
    with StopRequest(together=True) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested and not stop.due
        stop.heard(0)
        assert not stop.due
        stop.heard(4)
        assert stop.due


def test_a_time_limit_leaves_room_for_what_a_step_takes():
    with StopRequest(until=time.monotonic() + 30) as stop:
        assert not stop.requested
        stop.takes(20)
        assert soon(stop) and stop.reason == "the time limit"


def test_a_notice_counts_when_it_is_new_and_says_something(tmp_path):
    notice = tmp_path / "notice"
    notice.write_text("old news")
    with StopRequest(notice=notice) as stop:
        notice.write_text("NONE\n")
        time.sleep(1.3)
        assert not stop.requested
        notice.write_text("TERMINATE_ON_HOST_MAINTENANCE")
        assert soon(stop) and str(notice) in stop.reason


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3h30m", 12600), ("90m", 5400), ("1d2h", 93600), ("45s", 45), ("01:30:00", 5400), ("1-12:00:00", 129600)],
)
def test_times_are_read(text, seconds):
    assert options.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "3", "h", "3h 30m", "0s", "12:00", "-3h"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UserError, match="--time_limit"):
        options.parse_duration(text)
