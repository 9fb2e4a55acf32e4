"""Jobs here and apart: results, errors, and what becomes of the workers. Jobs are functions that any process knows."""

import math
import multiprocessing
import os
import signal
import threading
import time

import pytest

from data_pipelines import workers
from data_pipelines.workers import WorkerLost, Workers


def collect(processes: int, jobs, sizes=(), total=0) -> tuple[dict, list[int]]:
    """Returns the results by index, and by how much the bar advanced each time."""
    advanced: list[int] = []
    pool = Workers("Working", processes, total)
    with pool:
        pool._advance = advanced.append
        return dict(pool.run(jobs, sizes)), advanced


@pytest.mark.parametrize("processes", [1, 2])
def test_every_result_comes_with_its_index(processes):
    jobs = [(math.sqrt, (number * number,)) for number in range(9)]
    found, advanced = collect(processes, jobs, sizes=range(9))
    assert found == {number: number for number in range(9)}
    assert sum(advanced) == sum(range(9))


@pytest.mark.parametrize("processes", [1, 2])
def test_jobs_advance_the_bar_themselves(processes):
    _, advanced = collect(processes, [(workers.advance, (amount,)) for amount in (5, 70, 900)])
    assert sum(advanced) == 975


def test_without_a_pool_nothing_is_counted():
    workers.advance(5)


@pytest.mark.parametrize("processes", [1, 8])
def test_no_jobs(processes):
    assert collect(processes, []) == ({}, [])


def test_one_job_needs_no_other_process():
    assert collect(8, [(os.getpid, ())])[0] == {0: os.getpid()}


def test_many_jobs_run_apart():
    assert os.getpid() not in collect(2, [(os.getpid, ()), (os.getpid, ())])[0].values()


@pytest.mark.parametrize("processes", [1, 2])
def test_the_first_error_is_raised_and_nobody_is_waited_for(processes):
    start = time.monotonic()
    with pytest.raises(ValueError, match="invalid literal"):
        collect(processes, [(int, ("x",)), (time.sleep, (60,)), (time.sleep, (60,))])
    assert time.monotonic() - start < 30
    assert not multiprocessing.active_children()


def test_an_error_of_whoever_takes_the_results_ends_the_workers():
    """A full disk, say: the generator may live on in the traceback."""
    jobs = [(int, ("1",)), (time.sleep, (60,)), (time.sleep, (60,))]
    start = time.monotonic()
    with pytest.raises(OSError, match="full"), Workers("Working", 2, 0) as pool:
        for _ in pool.run(jobs):
            raise OSError("full")
    assert time.monotonic() - start < 30
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("code", [0, 9])
def test_a_worker_that_is_gone(code):
    with pytest.raises(WorkerLost, match="memory ran out. Run the same command again") as error:
        collect(2, [(os._exit, (code,)), (time.sleep, (60,))])
    assert "\n" not in str(error.value)
    assert not multiprocessing.active_children()


def test_workers_hear_no_signal_of_the_terminal():
    """Neither Ctrl-C nor SIGTERM ends them: whoever started them does."""
    jobs = [(signal.pthread_sigmask, (signal.SIG_BLOCK, ())), (os.getpid, ())]
    found, _ = collect(2, jobs)
    assert {signal.SIGINT, signal.SIGTERM} <= found[0]
    assert not {signal.SIGINT, signal.SIGTERM} & signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_sigterm_is_ctrl_c_inside_and_what_it_was_outside():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), workers.interruptible():
        signal.raise_signal(signal.SIGTERM)
        time.sleep(1)
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_thread_may_build_too():
    failed = []

    def use():
        try:
            with workers.interruptible():
                pass
        except ValueError as error:
            failed.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert not failed
