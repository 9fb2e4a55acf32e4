"""Which step is the best and when a stage ends follow from the log alone; a part of the rows is a fair part."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llumi_jax.data import packing
from llumi_jax.data.dataset import Pair
from llumi_jax.data.tokenization import TokenThread
from llumi_jax.storage import checkpoints
from llumi_jax.training import looks, metrics
from llumi_jax.training.looks import Best, HeldOutLook, ReplyLook
from llumi_jax.training.recipe import Stage

NAN = math.nan


def run(folder, values, by="held_out_loss", patience=0, start=0, every=10):
    """Looks every ten steps from `start` on; ends as the loop does. Returns the look and the steps that were run."""
    total = every * len(values)
    look = HeldOutLook(folder, every, total, lambda step: {by: values[step // every - 1]}, by, patience, start)
    done = []
    with metrics.MetricWriter(folder, start) as writer:
        for step in range(start + 1, total + 1):
            if look.exhausted:
                break
            found = look(step, step) if look.due(step) else {}
            writer.write(step, {"loss": 0.0, **found})
            done.append(step)
    return look, done


@pytest.mark.parametrize(
    ("by", "values", "best"),
    [
        ("held_out_loss", [0.7, 0.5, 0.6], Best(20, 0.5)),
        ("held_out_nll", [0.7, 0.5, 0.5], Best(20, 0.5)),
        ("held_out_accuracy", [0.5, 0.7, 0.6], Best(20, 0.7)),
        ("held_out_margin", [-0.3, -0.1, -0.2], Best(20, -0.1)),
        ("held_out_loss", [NAN, 0.9, math.inf], Best(20, 0.9)),
        ("held_out_loss", [NAN, NAN], None),
    ],
)
def test_the_best_step(tmp_path, by, values, best):
    look, _ = run(tmp_path, values, by)
    assert look.best == best
    assert [step for step in range(99) if look.is_best(step)] == ([best.step] if best else [])


@pytest.mark.parametrize(
    ("values", "patience", "ended"),
    [
        ([5, 4, 4.5, 4.6, 1], 2, 40),
        ([5, 4, 4.5, 3, 3.5, 3.6], 2, 60),
        ([5, 6, 7], 0, 30),
        ([NAN, NAN, NAN, 1], 3, 30),
        ([4, 4, 1], 1, 20),
    ],
)
def test_patience(tmp_path, values, patience, ended):
    assert run(tmp_path, values, patience=patience)[1][-1] == ended


@given(
    values=st.lists(st.floats(0, 9) | st.just(NAN), min_size=1, max_size=9),
    patience=st.integers(0, 3),
    data=st.data(),
)
def test_a_run_that_goes_on_decides_the_same(tmp_path_factory, values, patience, data):
    """It was killed anywhere, and goes on from any checkpoint before that."""
    whole = tmp_path_factory.mktemp("whole")
    expected, steps = run(whole, values, patience=patience)
    killed = tmp_path_factory.mktemp("killed")
    run(killed, values, patience=patience)
    lines = (killed / "metrics.jsonl").read_text().splitlines()
    kept = data.draw(st.integers(0, len(lines)))
    (killed / "metrics.jsonl").write_text("".join(line + "\n" for line in lines[:kept]))
    start = data.draw(st.integers(0, kept))
    found, _ = run(killed, values, patience=patience, start=start)
    assert found.best == expected.best and found.exhausted == expected.exhausted
    assert [line["step"] for line in metrics.read(killed)] == steps


def test_the_last_step_is_looked_at(tmp_path):
    look = HeldOutLook(tmp_path, 10, 25, lambda _: {})
    assert [step for step in range(1, 26) if look.due(step)] == [10, 20, 25]


def test_the_best_is_written_for_those_who_read_the_result(tmp_path):
    look, _ = run(tmp_path, [3.0, 1.0, 2.0])
    look.write_best()
    found = json.loads((tmp_path / checkpoints.BEST_FILE).read_text())
    assert found == {"step": 20, "by": "held_out_loss", "value": 1.0}


def test_replies_of_a_step_come_once(tmp_path):
    posts = [
        {"id": "a", "title": "T", "body": "B", "draft": ""},
        {"id": "b", "title": "", "body": "", "draft": "\ud83d"},
    ]
    look = ReplyLook(tmp_path, 5, lambda weights: [f"{weights} a", f"{weights} b"], posts)
    assert [step for step in range(1, 12) if look.due(step)] == [5, 10]
    assert look(5, "five") == {"reply/a": "five a", "reply/b": "five b"}
    look(10, "lost by a kill")
    look(5, "five again")
    look(10, "ten")
    rows = metrics.read_replies(tmp_path)
    assert [(row["step"], row["id"], row["reply"]) for row in rows] == [
        (5, "a", "five again a"), (5, "b", "five again b"), (10, "a", "ten a"), (10, "b", "ten b"),
    ]  # fmt: skip
    assert rows[0]["body"] == "B"


# --- a part of the rows --------------------------------------------------------------------------------------------


def some_rows(count: int = 40, row_length: int = 64) -> packing.PackedRows:
    rng = np.random.default_rng(1)

    def ids(size):
        return rng.integers(1, 90, size).astype(np.int32)

    threads = []
    for i in range(count):
        replies = tuple(ids(rng.integers(1, 20)) for _ in range(3))
        pairs = tuple(Pair(f"p{i}-{j}", j, 2, 0.8, float(rng.uniform(0.5, 2))) for j in range(1 + i % 2))
        threads.append(TokenThread(f"t{i}", "c", ids(rng.integers(1, 9)), replies, (0.0,) * 3, pairs))
    return packing.pack(threads, row_length)


ROWS = some_rows()


@pytest.mark.parametrize("most", [1, 5, 17, 40, 1000])
def test_a_part_holds_at_most_so_many_posts_and_at_least_a_row(most):
    chosen = looks.spread(ROWS, most)
    assert chosen == sorted(set(chosen)) == looks.spread(some_rows(), most)
    threads = sum(len(ROWS.threads_of(row)) for row in chosen)
    assert threads <= most or len(chosen) == 1
    assert threads == 40 or most < 40
    if most >= 17:  # a row has a few threads: the part comes near its bound
        assert threads > min(most, 40) - 6
    if most == 17:
        assert max(chosen) > len(ROWS) / 2, "the first rows hold the longest threads"


def test_held_out_numbers_are_those_of_the_part_by_hand():
    """Log-probabilities that are a function of the reply, so that a pair can be looked up anywhere."""
    of = lambda tokens, weights: -float(tokens.sum()) * weights
    rows, stage = ROWS, Stage("s", "gm", "dpo", steps=1, beta=0.1, evaluate_on=17)

    def table(weights):
        out = np.zeros((len(rows), rows.shape.slots), np.float32)
        for row in range(len(rows)):
            for slot, reply in enumerate(r for t in rows.threads_of(row) for r in t.replies):
                out[row, slot] = of(reply, weights)
        return out

    def scorer(weights, slots):
        assert slots == rows.shape.slots

        def compute(batch):
            assert batch["tokens"].shape[0] == 2
            found = np.zeros((2, slots))
            for i in range(2):
                kept = batch["weight"][i] > 0
                np.add.at(found[i], batch["slot"][i][kept], -batch["target"][i][kept] * weights)
            return found

        return compute

    found = looks.scorer(rows, table(0.01), stage, 2, scorer)(0.02)
    losses, weights, accuracy, margins, nats, tokens = [], [], [], [], 0.0, 0
    for row in looks.spread(rows, 17):
        for t in rows.threads_of(row):
            for p in t.pairs:
                gain = [of(t.replies[i], 0.02) - of(t.replies[i], 0.01) for i in (p.chosen, p.rejected)]
                margin = 0.1 * (gain[0] - gain[1])
                losses.append(0.8 * np.log1p(np.exp(-margin)) + 0.2 * np.log1p(np.exp(margin)))
                weights.append(p.weight)
                accuracy.append(1.0 if margin > 0 else 0.5 if margin == 0 else 0.0)
                margins.append(margin)
                nats -= of(t.replies[p.chosen], 0.02)
                tokens += len(t.replies[p.chosen])
    assert found == pytest.approx(
        {
            "held_out_loss": np.average(losses, weights=weights),
            "held_out_accuracy": np.mean(accuracy),
            "held_out_margin": np.mean(margins),
            "held_out_nll": nats / tokens,
        },
        rel=1e-5,
    )
