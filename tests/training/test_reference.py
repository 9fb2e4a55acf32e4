"""The sweep on disk: killed anywhere it goes on bit by bit, and numbers of something else are never used."""

import dataclasses
import json

import numpy as np
import pytest

from llumi_jax import prompts
from llumi_jax.cli import UserError
from llumi_jax.data import packing
from llumi_jax.data.dataset import Pair
from llumi_jax.data.tokenization import TokenThread
from llumi_jax.storage import files
from llumi_jax.training import reference

BATCH = 2


class Killed(Exception):
    pass


def some_rows(seed: int = 0, row_length: int = 64) -> packing.PackedRows:
    rng = np.random.default_rng(seed)

    def ids(size):
        return rng.integers(1, 100, size).astype(np.int32)

    threads = [
        TokenThread(f"t{i}", "", ids(10), (ids(12), ids(15)), (0.0, 0.0), (Pair(f"p{i}", 0, 1, 1.0, 1.0),))
        for i in range(7)
    ]
    return packing.pack(threads, row_length)


ROWS = some_rows()


class Compute:
    """Numbers that depend on the batch's tokens, and a count of the rows they were made for."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.calls, self.fail_at = 0, fail_at

    def __call__(self, batch) -> np.ndarray:
        if self.calls == self.fail_at:
            raise Killed
        self.calls += 1
        sums = batch["tokens"].sum(1, dtype=np.float32)[:, None]
        return np.sin(sums + np.arange(ROWS.shape.slots, dtype=np.float32))


def run(path, compute=None, key="k", **settings) -> np.ndarray:
    return reference.sweep(path, key, ROWS, compute or Compute(), BATCH, **settings)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "reference" / "reference.npy"


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole") / "x.npy")


BATCHES = -(-len(ROWS) // BATCH)


def test_a_sweep_holds_every_rows_numbers(expected):
    assert expected.shape == (len(ROWS), ROWS.shape.slots) and expected.dtype == np.float32
    assert len(ROWS) % BATCH == 1, "the last batch must be a part of one for this to test it"
    for index in range(len(ROWS)):
        alone = Compute()({"tokens": ROWS[index]["tokens"][None]})
        np.testing.assert_array_equal(expected[index], alone[0])


def test_a_finished_sweep_is_read(path, expected):
    run(path)
    np.testing.assert_array_equal(run(path, Compute(fail_at=0)), expected)


@pytest.mark.parametrize("at", range(BATCHES))
def test_a_sweep_killed_while_it_computes_goes_on(path, expected, at):
    with pytest.raises(Killed):
        run(path, Compute(fail_at=at))
    rest = Compute()
    np.testing.assert_array_equal(run(path, rest), expected)
    assert rest.calls == BATCHES - at


@pytest.mark.parametrize("at", range(BATCHES))
@pytest.mark.parametrize("moment", ["before its progress is written", "after it"])
def test_a_sweep_killed_while_it_writes_goes_on(path, expected, monkeypatch, at, moment):
    write, written = files.write_json, []

    def write_json(*arguments):
        if len(written) == at and moment.startswith("before"):
            raise Killed
        write(*arguments)
        written.append(arguments)
        if len(written) == at + 1:
            raise Killed

    monkeypatch.setattr(files, "write_json", write_json)
    with pytest.raises(Killed):
        run(path)
    monkeypatch.setattr(files, "write_json", write)
    np.testing.assert_array_equal(run(path), expected)


def test_killed_again_and_again_it_still_ends(path, expected):
    for _ in range(BATCHES - 1):
        with pytest.raises(Killed):
            run(path, Compute(fail_at=1))
    np.testing.assert_array_equal(run(path), expected)


def test_progress_is_told_when_it_is_on_disk(path):
    told = []

    def after_batch(done: int) -> None:
        told.append(done)
        assert json.loads(path.with_suffix(".json").read_text())["done"] == done

    run(path, after_batch=after_batch)
    assert told == [*range(BATCH, len(ROWS), BATCH), len(ROWS)]


def test_a_process_that_does_not_write_gets_the_same(path, expected):
    np.testing.assert_array_equal(run(path, writer=False), expected)
    assert not path.parent.exists()
    run(path)
    np.testing.assert_array_equal(run(path, writer=False), expected)


@pytest.mark.parametrize("finished", [True, False])
def test_numbers_of_something_else_are_an_error(path, finished):
    if finished:
        run(path)
    else:
        with pytest.raises(Killed):
            run(path, Compute(fail_at=1))
    before = path.read_bytes()
    with pytest.raises(UserError, match="holds log-probabilities of other weights or data. Remove that folder"):
        run(path, key="another")
    assert path.read_bytes() == before


# --- the key -------------------------------------------------------------------------------------------------------


def key(rows=ROWS, **weights) -> str:
    return reference.sweep_key({"base": "b", "start": "s", **weights}, rows)


def changed(**changes) -> packing.PackedRows:
    first, *others = ROWS.threads
    return dataclasses.replace(ROWS, threads=(dataclasses.replace(first, **changes), *others))


def test_the_key_repeats():
    assert key() == key(some_rows())


@pytest.mark.parametrize(
    "other",
    [
        lambda: key(base="other"),
        lambda: key(start="other"),
        lambda: key(some_rows(1)),
        lambda: key(some_rows(0, 96)),
        lambda: key(dataclasses.replace(ROWS, plan=ROWS.plan[::-1])),
        lambda: key(changed(thread_id="other")),
        lambda: key(changed(prefix=ROWS.threads[0].prefix + 1)),
        lambda: key(changed(replies=ROWS.threads[0].replies[::-1])),
    ],
    ids=["base", "adapter", "tokens", "row length", "plan", "thread", "prompt", "replies"],
)
def test_all_that_the_numbers_depend_on_changes_the_key(other):
    assert other() != key()


def test_another_wording_of_the_prompt_changes_the_key(monkeypatch):
    before = key()
    monkeypatch.setattr(prompts, "VERSION", "other")
    assert key() != before


def test_rows_carry_their_reference(expected):
    rows = reference.RowsWithReference(ROWS, expected)
    assert len(rows) == len(ROWS)
    for index in range(len(rows)):
        item = rows[index]
        np.testing.assert_array_equal(item.pop("reference_logps"), expected[index])
        for name, array in ROWS[index].items():
            np.testing.assert_array_equal(item[name], array)
