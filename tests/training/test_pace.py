"""Times of steps and of waiting, against a clock that is moved by hand."""

import pytest

from llumi_jax.training.pace import Pace


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def test_a_loop_that_looks_one_step_late():
    """The device takes 10 s a step, the input 1 s an item: nine tenths of what is left of the step are free."""
    clock = Clock()
    pace = Pace(clock)

    def items():
        for item in "abcd":
            clock.now += 1
            yield item

    ready, started, laps = 50.0, [], []
    for _ in pace.timed(items()):
        started.append(pace())
        ready = max(ready, clock.now) + 10  # when the device will be through with this one
        if len(started) > 1:
            clock.now = max(clock.now, ready - 10)  # looks at the one before
            laps.append(pace.lap(started.pop(0)))
    # From 50 to 61 two items were waited for; after that one item in every 10 s.
    assert [lap.seconds for lap in laps] == [10, 10, 10]
    assert [lap.data_wait for lap in laps] == pytest.approx([2 / 11, 0.1, 0.1])


def test_an_input_that_is_slower_than_the_step():
    clock = Clock()
    pace = Pace(clock)

    def items():
        while True:
            clock.now += 8
            yield None

    stream = pace.timed(items())
    for _ in range(3):
        next(stream)
        began = pace()
        clock.now += 2
        assert pace.lap(began) == (2, 0.8)


def test_what_is_skipped_counts_for_nothing():
    clock = Clock()
    pace = Pace(clock)
    stream = pace.timed(iter("ab"))
    next(stream)
    clock.now += 100  # a save
    pace.skip()
    began = pace()
    clock.now += 4
    assert pace.lap(began) == (4, 0)


def test_the_stream_ends_where_it_ends_and_nothing_takes_no_time():
    pace = Pace(Clock())
    assert list(pace.timed([1, None, 2])) == [1, None, 2]
    assert pace.lap(pace()).data_wait == 0 and pace.lap(pace()).seconds > 0
