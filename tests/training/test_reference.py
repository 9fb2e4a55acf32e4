"""The sweep on disk: killed anywhere it goes on bit by bit, and numbers of something else are never used."""

import json

import numpy as np
import pytest

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


MADE_FROM = {"base": "b" * 64, "start": "the base", "max_prompt_tokens": 200}


def run(path, compute=None, made_from=MADE_FROM, **settings) -> np.ndarray:
    return reference.sweep(path, made_from, ROWS, compute or Compute(), BATCH, **settings)


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
    with pytest.raises(UserError) as error:
        run(path, made_from={**MADE_FROM, "base": "c" * 64, "max_prompt_tokens": 100})
    assert path.read_bytes() == before
    assert (
        f"{path.parent} holds log-probabilities of another base (its weights): there {'b' * 12}, here {'c' * 12}; "
        in (said := str(error.value))
    )
    assert "length, config.max_prompt_tokens: there 200, here 100. Remove that folder" in said and "start" not in said


# --- shared by runs ------------------------------------------------------------------------------------------------


@pytest.fixture
def shared(tmp_path):
    return reference.Shared(tmp_path / "cache", "cpu")


def test_the_next_run_computes_nothing(tmp_path, shared, expected):
    run(tmp_path / "first" / "x.npy", shared=shared)
    found = []
    again = reference.Shared(shared.folder, "cpu", found.append)
    second = tmp_path / "second" / "x.npy"
    np.testing.assert_array_equal(run(second, Compute(fail_at=0), shared=again), expected)
    assert found == [shared.path(MADE_FROM)]
    # What was found stands in the run's own folder: it needs the other one no more.
    np.testing.assert_array_equal(run(second, Compute(fail_at=0)), expected)


@pytest.mark.parametrize("other", [{"base": "c" * 64}, {"start": "another"}, {"max_prompt_tokens": 201}, {"more": 1}])
def test_a_run_of_something_else_computes_its_own(tmp_path, shared, other):
    run(tmp_path / "first" / "x.npy", shared=shared)
    with pytest.raises(Killed):
        run(tmp_path / "second" / "x.npy", Compute(fail_at=0), {**MADE_FROM, **other}, shared=shared)
    with pytest.raises(Killed):
        run(tmp_path / "third" / "x.npy", Compute(fail_at=0), shared=reference.Shared(shared.folder, "gpu"))


def test_a_sweep_that_is_not_through_is_not_shared(tmp_path, shared):
    with pytest.raises(Killed):
        run(tmp_path / "first" / "x.npy", Compute(fail_at=1), shared=shared)
    assert not shared.folder.exists()


@pytest.mark.parametrize("damage", ["cut", "flipped", "no word", "another's", "half a word"])
def test_what_the_disk_gave_back_damaged_is_computed_again(tmp_path, shared, expected, damage):
    run(tmp_path / "first" / "x.npy", shared=shared)
    path = shared.path(MADE_FROM)
    about = path.with_suffix(".json")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "flipped":
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    elif damage == "no word":
        about.unlink()
    elif damage == "another's":
        about.write_text(about.read_text().replace('"max_prompt_tokens": 200', '"max_prompt_tokens": 100'))
    else:
        about.write_text(about.read_text()[:20])
    compute = Compute()
    np.testing.assert_array_equal(run(tmp_path / "second" / "x.npy", compute, shared=shared), expected)
    assert compute.calls == BATCHES
    np.testing.assert_array_equal(run(tmp_path / "third" / "x.npy", Compute(fail_at=0), shared=shared), expected)


def test_a_cache_that_cannot_be_written_to_harms_nobody(tmp_path, expected):
    (tmp_path / "file").write_text("")
    shared = reference.Shared(tmp_path / "file" / "cache")
    np.testing.assert_array_equal(run(tmp_path / "x" / "x.npy", shared=shared), expected)


# --- of a run that is named ----------------------------------------------------------------------------------------


def test_numbers_of_another_run_are_taken_or_refused(path, expected):
    with pytest.raises(UserError, match="holds no reference.npy. Name the folder W/<stage>/reference"):
        reference.numbers_of(path.parent, MADE_FROM, expected.shape)
    with pytest.raises(Killed):
        run(path, Compute(fail_at=1))
    with pytest.raises(UserError, match=f"holds {BATCH} of {len(ROWS)} rows"):
        reference.numbers_of(path.parent, MADE_FROM, expected.shape)
    run(path)
    np.testing.assert_array_equal(reference.numbers_of(path.parent, MADE_FROM, expected.shape), expected)
    with pytest.raises(
        UserError, match="of another start .*: there the base, here nothing. Leave reference_from empty"
    ):
        reference.numbers_of(path.parent, {k: v for k, v in MADE_FROM.items() if k != "start"}, expected.shape)


def test_rows_carry_their_reference(expected):
    rows = reference.RowsWithReference(ROWS, expected)
    assert len(rows) == len(ROWS)
    for index in range(len(rows)):
        item = rows[index]
        np.testing.assert_array_equal(item.pop("reference_logps"), expected[index])
        for name, array in ROWS[index].items():
            np.testing.assert_array_equal(item[name], array)
