"""Our side of the benchmarks, end to end on a decoder of a few thousand weights."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import models, ours, pairs
from benchmarks.jobs import Job
from llumi_jax.models.config import DecoderConfig
from llumi_jax.training import flops, sharding

SIZES = DecoderConfig("llama", 64, 16, 32, 2, 4, 2, 8, tie_embeddings=True)
COUNT = 24


def some_pairs() -> list[pairs.Pair]:
    """Threads of two pairs that share a post and the chosen reply."""
    rng, found = np.random.default_rng(0), []
    ids = lambda least, most: rng.integers(3, 64, rng.integers(least, most)).tolist()
    for _ in range(COUNT // 2):
        post, good = ids(10, 30), ids(4, 12)
        found += [{"prompt": post, "chosen": good, "rejected": ids(4, 12)} for _ in range(2)]
    return found


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    root = tmp_path_factory.mktemp("bench")
    (root / "pairs.json").write_text(json.dumps(some_pairs()))
    models.write(root / "model", SIZES, models.random_params(SIZES, 0))
    files = {"pairs": str(root / "pairs.json"), "model": str(root / "model")}
    settings = {"row_length": 128, "batch_rows": 8, "micro_rows": 8, "learning_rate": 1e-3}
    settings |= {"attention": "dense", "remat": "none"}
    return Job("llumi_jax", "dpo", **files, **settings)


@pytest.fixture(scope="module", autouse=True)
def quick_products():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ours.matmul, "best", lambda *_: (1e9, "q"))
        yield


@pytest.fixture(scope="module")
def live(job):
    return ours.run(job)


def test_threads_hold_each_post_and_each_reply_once():
    threads = ours.token_threads(some_pairs(), "dpo")
    assert len(threads) == COUNT // 2 and sum(len(t.pairs) for t in threads) == COUNT
    assert sum(t.size for t in threads) == pairs.shared_tokens(some_pairs())
    back = [
        {
            "prompt": t.prefix.tolist(),
            "chosen": t.replies[p.chosen].tolist(),
            "rejected": t.replies[p.rejected].tolist(),
        }
        for t in threads
        for p in t.pairs
    ]
    assert back == some_pairs()


def test_sft_learns_the_chosen_replies():
    threads = ours.token_threads(some_pairs(), "sft")
    assert [len(t.replies) for t in threads] == [1] * (COUNT // 2)
    assert all(t.reply_weights == (1.0,) and not t.pairs for t in threads)


def test_an_epoch_is_timed_and_counted(live):
    found = live
    assert found["loss_first"] == pytest.approx(math.log(2), abs=1e-5)  # policy and reference are the same model
    assert found["loss_last"] < found["loss_first"]
    assert COUNT <= found["units"] <= 8 * found["steps"] * COUNT  # what fills the last batch comes a second time
    assert found["units_per_s"] == pytest.approx(found["units"] / found["seconds"])
    assert found["peak_mb"] >= found["before_mb"] > 0 and found["compile_s"] > 0 and found["sweep_s"] == 0
    share = found["rows_done"] / found["rows"]
    work = flops.of_rows(_all_rows())
    assert found["tokens"] == round(work.tokens * share)
    useful = flops.training(SIZES, work) * share
    assert found["useful_flops_per_s"] * found["seconds"] == pytest.approx(useful, rel=1e-6)
    assert found["utilisation"] == pytest.approx(found["useful_flops_per_s"] / 1e9)


def _all_rows():
    rows = ours.packed(some_pairs(), "dpo", 128)
    return {name: np.stack([rows[i][name] for i in range(len(rows))]) for name in rows[0]}


def test_a_cached_reference_gives_the_same_losses_and_its_sweep_counts(job, live):
    cached = ours.run(dataclasses.replace(job, reference="cached"))
    assert cached["loss_first"] == pytest.approx(live["loss_first"], abs=1e-5)
    assert cached["loss_last"] == pytest.approx(live["loss_last"], abs=1e-5)
    assert cached["sweep_s"] > 0 and cached["seconds"] == pytest.approx(cached["train_s"] + cached["sweep_s"])


def test_sft_and_an_adapter_run_as_well(job):
    sft = ours.run(dataclasses.replace(job, objective="sft"))
    assert sft["units"] >= COUNT // 2 and sft["loss_last"] < sft["loss_first"] == pytest.approx(math.log(64), abs=0.2)
    adapter = ours.run(dataclasses.replace(job, lora_rank=2, steps=1))
    assert adapter["steps"] == 1 and adapter["loss_first"] == pytest.approx(math.log(2), abs=1e-5)


def test_without_weights_in_the_folder_they_are_drawn(job, tmp_path):
    models.write(tmp_path / "drawn", SIZES, None)
    mesh = sharding.make_mesh({"data": -1, "fsdp": 1, "tensor": 1, "context": 1})
    read = ours.weights(job, SIZES, mesh)
    drawn = ours.weights(dataclasses.replace(job, model=str(tmp_path / "drawn")), SIZES, mesh)
    assert jax.tree.map(jnp.shape, read) == jax.tree.map(jnp.shape, drawn)
    assert np.std(drawn["embed"]["embedding"]) > 0
    np.testing.assert_array_equal(read["embed"]["embedding"], models.random_params(SIZES, 0)["embed"]["embedding"])
