"""Learning curves: each step gets exactly its pairs, and ours runs where a loop written with torch and peft runs."""

import json
import math

import jax
import numpy as np
import pytest

from benchmarks import curve_ours, learning_curve, models
from benchmarks.curves import CurveJob
from llumi_jax.interchange import peft as adapters
from llumi_jax.models import lora
from llumi_jax.models.config import DecoderConfig

SIZES = DecoderConfig("llama", 64, 16, 32, 2, 4, 2, 8, tie_embeddings=True)
RATE, WARMUP, BETA, STEPS = 0.05, 1, 0.3, 4


def some_pairs(count: int, seed: int):
    rng = np.random.default_rng(seed)
    ids = lambda least, most: rng.integers(3, 64, rng.integers(least, most)).tolist()
    return [{"prompt": ids(10, 30), "chosen": ids(4, 12), "rejected": ids(4, 12)} for _ in range(count)]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    root = tmp_path_factory.mktemp("curve")
    models.write(root / "model", SIZES, models.random_params(SIZES, 0))
    config = lora.LoraConfig(2, 4.0, targets=("q", "v"))
    (root / "adapter").mkdir()
    adapters.write(root / "adapter", lora.init(jax.random.key(1), config, SIZES), config, SIZES, "base")
    train, test = some_pairs(9, 0), some_pairs(5, 1)
    train.append({**train[0], "rejected": train[1]["rejected"]})  # two pairs of one post
    (root / "pairs.json").write_text(json.dumps({"train": train, "test": test}))
    return CurveJob(
        "llumi_jax", str(root / "pairs.json"), str(root / "model"), str(root / "adapter"), seed=0,
        order=((0, 9, 3), (1, 2, 4), (5, 6, 7), (8, 0, 1)), learning_rate=RATE, warmup_steps=WARMUP, beta=BETA,
        evaluate_every=3, threads=2, row_length=128,
    )  # fmt: skip


def test_every_step_gets_its_pairs_in_rows_of_one_shape(job):
    batches, shape = curve_ours.step_rows(job, 4)
    train = job.pairs("train")
    assert len({tuple((n, a.shape) for n, a in batch.items()) for batch in batches}) == 1
    for step, batch in zip(job.order, batches, strict=True):
        assert batch["tokens"].shape == (4, 128) and batch["chosen"].shape[1] == shape.pairs
        found = [pair for row in range(4) for pair in pairs_of(batch, row)]
        wanted = [train[i] for i in step]
        assert sorted(map(json.dumps, found)) == sorted(map(json.dumps, wanted))


def pairs_of(batch, row):
    """The pairs of a row, read back from its prediction list and its segments."""
    of = {name: array[row] for name, array in batch.items()}
    reply = lambda slot: of["target"][(of["slot"] == slot) & (of["weight"] > 0)].tolist()
    for index in np.flatnonzero(of["pair_weight"] > 0):
        chosen, rejected = of["chosen"][index], of["rejected"][index]
        first = of["source"][(of["slot"] == chosen) & (of["weight"] > 0)][0]  # the prompt's last token
        prompt = of["tokens"][(of["segment"] == of["segment"][first]) & (of["branch"] == 0)].tolist()
        yield {"prompt": prompt, "chosen": reply(chosen), "rejected": reply(rejected)}


def test_our_curve_is_that_of_torch_and_peft(job):
    """Transformers' Llama, peft's LoRA, torch's AdamW and the paper's loss (arXiv:2305.18290, eq. 7), pair by pair."""
    found, wanted = curve_ours.run(job), torch_curve(job)
    for name in ("loss", "margin"):
        np.testing.assert_allclose([s[name] for s in found["steps"]], [s[name] for s in wanted["steps"]], atol=2e-4)
    margins = [line["margin"] for line in found["held_out"]]
    np.testing.assert_allclose(margins, wanted["held_out"], atol=2e-4)
    assert [line["step"] for line in found["held_out"]] == [0, 3, 4] and abs(margins[-1]) > 0.01


def torch_curve(job):
    torch, peft, transformers = (pytest.importorskip(n) for n in ("torch", "peft", "transformers"))
    from safetensors.torch import load_file

    base = transformers.LlamaForCausalLM.from_pretrained(job.model, dtype=torch.float32)
    config = peft.LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = peft.get_peft_model(base, config)
    peft.set_peft_model_state_dict(model, load_file(f"{job.adapter}/adapter_model.safetensors"))

    def logp(pair, side):
        ids, n = torch.tensor([pair["prompt"] + pair[side]]), len(pair[side])
        logits = torch.log_softmax(model(ids).logits[0, :-1], -1)
        return logits.gather(-1, ids[0, 1:, None])[-n:].sum()

    def margin(pair):
        gap = logp(pair, "chosen") - logp(pair, "rejected")
        with torch.no_grad(), model.disable_adapter():
            before = logp(pair, "chosen") - logp(pair, "rejected")
        return BETA * (gap - before)

    def held_out():
        with torch.no_grad():
            return float(torch.stack([margin(pair) for pair in job.pairs("test")]).mean())

    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1.0, weight_decay=0.0)
    train, steps, curve = job.pairs("train"), [], [held_out()]
    for number, step in enumerate(job.order):
        past = (number - WARMUP) / (STEPS - WARMUP)
        rate = RATE * (number / WARMUP if number < WARMUP else 0.5 * (1 + math.cos(math.pi * past)))
        optimizer.param_groups[0]["lr"] = rate
        margins = torch.stack([margin(train[i]) for i in step])
        loss = -torch.nn.functional.logsigmoid(margins).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        steps.append({"loss": float(loss.detach()), "margin": float(margins.detach().mean())})
        if number + 1 in (3, STEPS):
            curve.append(held_out())
    return {"steps": steps, "held_out": curve}


def run_of(system, seed, margin):
    steps = [{"step": n, "loss": 0.7 - n / 100, "margin": 0.0, "accuracy": 0.5} for n in (1, 2)]
    held = [{"step": n, "margin": margin * n, "accuracy": 0.5} for n in (0, 1)]
    return {"system": system, "seed": seed, "steps": steps, "held_out": held, "units_per_s": 1.0, "peak_mb": 1.0}


def test_the_difference_is_paired_by_seed(tmp_path):
    ours, theirs = [0.5, 0.9, 0.2], [0.4, 0.7, 0.3]
    runs = [run_of("llumi_jax", i, m) for i, m in enumerate(ours)] + [run_of("trl", i, m) for i, m in enumerate(theirs)]
    found = learning_curve.summary(runs)
    differences = np.subtract(ours, theirs)
    assert found["difference"] == pytest.approx(differences.mean())
    assert found["standard_error"] == pytest.approx(differences.std(ddof=1) / math.sqrt(3))
    assert found["spread_over_seeds"] == pytest.approx(np.std(theirs, ddof=1))
    assert "within two" in learning_curve.verdict(found)
    assert learning_curve.summary(runs[:3]) == {} and "needs more seeds" in learning_curve.verdict(
        learning_curve.summary([runs[0], runs[3]])
    )
    learning_curve.draw(runs, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
