"""A loop that hangs says where, once, and goes on."""

import threading
import time

import pytest

from llumi_jax.training.watchdog import Watchdog

PATIENCE = 20.0  # seconds that a busy machine may take


def wait_for(path, words: str) -> str:
    end = time.monotonic() + PATIENCE
    while words not in (text := path.read_text()):
        assert time.monotonic() < end, text
        time.sleep(0.005)
    return text


@pytest.fixture
def told(tmp_path):
    with open(tmp_path / "told", "w+") as file:
        yield file, tmp_path / "told"


def a_step_that_hangs(over: threading.Event) -> None:
    over.wait()


def test_stacks_of_all_threads_once_for_each_hang(told):
    file, path = told
    over = threading.Event()
    other = threading.Thread(target=a_step_that_hangs, args=(over,))
    other.start()
    try:
        with Watchdog("gm_dpo", 0.05, file=file) as dog:
            wait_for(path, "before the first step")
            dog.beat(7)
            text = wait_for(path, "gm_dpo: nothing for 0.05 seconds after step 7.")
            end = text.index("after step 7")
            wait_for(path, "most recent call first")
            time.sleep(0.2)  # it could tell again, and does not
            text = path.read_text()
            assert text.count("after step 7") == 1
            stacks = text[end:]
            assert "a_step_that_hangs" in stacks and "test_stacks_of_all_threads_once_for_each_hang" in stacks
            dog.beat(8)
            wait_for(path, "after step 8")
    finally:
        over.set()
        other.join()


def test_steps_that_come_keep_it_quiet(told):
    file, path = told
    with Watchdog("s", 30.0, file=file) as dog:
        dog.beat(1)
    assert path.read_text() == ""


def test_switched_off_there_is_no_thread(told):
    before = threading.active_count()
    with Watchdog("s", 0, file=told[0]):
        assert threading.active_count() == before


def test_it_ends_with_the_loop(told):
    with pytest.raises(RuntimeError), Watchdog("s", 30.0, file=told[0]):
        raise RuntimeError
    assert not [thread for thread in threading.enumerate() if thread.name == "watchdog"]
