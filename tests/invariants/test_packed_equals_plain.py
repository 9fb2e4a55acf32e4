"""Thread-shared packing changes where tokens stand and nothing else.

The witness is a second decoder, written here without rows, segments, branches or gather lists: every reply of every
pair is run on its own behind its own copy of the prompt, under the policy and under the reference, four forwards a
pair. Both sides in float64.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llumi_jax.data import packing
from llumi_jax.data.dataset import Pair
from llumi_jax.data.tokenization import TokenThread
from llumi_jax.models import attention, decoder, lora
from llumi_jax.models.config import DecoderConfig
from llumi_jax.training import step
from llumi_jax.training.recipe import Stage

T = 256
LONGEST = 256  # tokens that a plain sequence is padded to
MOST_PAIRS = 24
CONFIG = DecoderConfig("llama", 61, 16, 24, 2, 4, 2, 4, rope_theta=1000.0)
LORA = lora.LoraConfig(rank=2, alpha=4.0)
STAGE = Stage("s", "gm", "dpo", steps=1, beta=0.3, reference="frozen")
PACKINGS = 50
# The packed side has static sizes, so that all packings share one compiled program.
SHAPE = packing.RowShape(tokens=T, predictions=256, slots=256, pairs=MOST_PAIRS)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


# --- the witness ---------------------------------------------------------------------------------------------------


def _plain_norm(x, scale):
    return x / jnp.sqrt((x * x).mean(-1, keepdims=True) + CONFIG.norm_eps) * scale


def _plain_rotate(x, frequencies):
    angles = jnp.arange(x.shape[0])[:, None] * frequencies[None]
    c, s = jnp.cos(angles)[:, None], jnp.sin(angles)[:, None]
    a, b = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return jnp.concatenate([a * c - b * s, a * s + b * c], -1)


def _plain_logits(weights, adapter, ids):
    """Logits [n, V] of one sequence, layer by layer, full causal attention."""
    x = weights["embed"]["embedding"][ids]
    # The rotary table is a constant of the model, kept in float32 there.
    frequencies = decoder.rope_frequencies(CONFIG).astype(jnp.float64)
    causal = jnp.tril(jnp.ones((len(ids), len(ids)), bool))
    for i in range(CONFIG.num_layers):
        at = lambda tree, i=i: jax.tree.map(lambda w: w[i], tree)
        layer, low = at(weights["layers"]), at(adapter["layers"])

        def project(y, owner, name, letters, layer=layer, low=low):
            kernel = layer[owner][name]["kernel"]
            inputs, outputs = letters.split(">")
            a, b = low[owner][name]["lora_a"], low[owner][name]["lora_b"]
            delta = jnp.einsum(f"{inputs}r,r{outputs}->{inputs}{outputs}", a, b)
            return jnp.einsum(f"t{inputs},{inputs}{outputs}->t{outputs}", y, kernel + LORA.scale * delta)

        y = _plain_norm(x, layer["input_norm"]["scale"])
        q, k, v = (project(y, "attention", n, "d>hn") for n in "qkv")
        q, k = _plain_rotate(q, frequencies), _plain_rotate(k, frequencies)
        group = CONFIG.num_heads // CONFIG.num_kv_heads
        k, v = jnp.repeat(k, group, 1), jnp.repeat(v, group, 1)
        scores = jnp.einsum("qhn,khn->hqk", q, k) / np.sqrt(CONFIG.head_dim)
        p = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf), -1)
        x = x + project(jnp.einsum("hqk,khn->qhn", p, v), "attention", "o", "hn>d")
        y = _plain_norm(x, layer["post_attention_norm"]["scale"])
        x = x + project(
            jax.nn.silu(project(y, "mlp", "gate", "d>f")) * project(y, "mlp", "up", "d>f"), "mlp", "down", "f>d"
        )
    return _plain_norm(x, weights["final_norm"]["scale"]) @ weights["lm_head"]["kernel"]


def _plain_logp(weights, adapter, ids, reply_mask):
    """Summed log-probability of the tokens under the mask, each predicted from the one before."""
    logps = jax.nn.log_softmax(_plain_logits(weights, adapter, ids), -1)
    picked = jnp.take_along_axis(logps[:-1], ids[1:, None], -1)[:, 0]
    return jnp.sum(jnp.where(reply_mask[1:], picked, 0.0))


def _plain_loss(adapter, weights, reference, batch):
    """DPO over a list of pairs: four forwards a pair, each over a prompt and one reply alone."""

    def one(total, pair):
        score = lambda tree, side: _plain_logp(weights, tree, pair[side], pair[f"{side}_mask"])
        margin = (score(adapter, "chosen") - score(reference, "chosen")) - (
            score(adapter, "rejected") - score(reference, "rejected")
        )
        p, w = pair["probability"], pair["weight"]
        loss = -(
            p * jnp.log(jax.nn.sigmoid(STAGE.beta * margin)) + (1 - p) * jnp.log(jax.nn.sigmoid(-STAGE.beta * margin))
        )
        return total + w * loss, None

    total, _ = jax.lax.scan(jax.checkpoint(one), jnp.float64(0), batch)
    return total / batch["weight"].sum()


def _plain_batch(threads):
    pairs = [(t, p) for t in threads for p in t.pairs]
    assert len(pairs) <= MOST_PAIRS
    batch = {"probability": np.full(MOST_PAIRS, 0.5), "weight": np.zeros(MOST_PAIRS)}
    for side in ("chosen", "rejected"):
        batch[side] = np.zeros((MOST_PAIRS, LONGEST), np.int32)
        batch[f"{side}_mask"] = np.zeros((MOST_PAIRS, LONGEST), bool)
    for i, (t, p) in enumerate(pairs):
        batch["probability"][i], batch["weight"][i] = p.probability, p.weight
        for side in ("chosen", "rejected"):
            reply = t.replies[getattr(p, side)]
            n = len(t.prefix)
            batch[side][i, : n + len(reply)] = [*t.prefix, *reply]
            batch[f"{side}_mask"][i, n : n + len(reply)] = True
    return {k: jnp.asarray(v) for k, v in batch.items()}


# --- packings ------------------------------------------------------------------------------------------------------


def _random_thread(rng, name, most):
    """A thread of at most `most` tokens: some replies of one token, some sharing several pairs."""
    n = int(rng.integers(2, 5))
    ids = lambda length: rng.integers(0, CONFIG.vocab_size, length).astype(np.int32)
    lengths = [1 if rng.random() < 0.25 else int(rng.integers(1, max(2, most // 8))) for _ in range(n)]
    prefix = int(rng.integers(1, max(2, most - sum(lengths) + 1)))
    couples = [(c, r) for c in range(n) for r in range(n) if c != r]
    chosen = rng.choice(len(couples), size=int(rng.integers(1, min(4, len(couples)))), replace=False)
    pairs = tuple(
        # Rows hold float32: numbers that both sides can hold exactly.
        Pair(f"{name}-{i}", *couples[i], float(np.float32(rng.uniform(0.5, 1))), float(np.float32(rng.uniform(0.2, 1))))
        for i in chosen
    )
    return TokenThread(name, "", ids(prefix), tuple(map(ids, lengths)), (0.0,) * n, pairs)


def _random_row(seed):
    """One row of a random plan; every third is filled to its last token."""
    rng = np.random.default_rng(seed)
    room, threads = T, []
    while room > 24 and sum(len(t.pairs) for t in threads) < MOST_PAIRS - 4 and len(threads) < 6:
        thread = _random_thread(rng, f"t{len(threads)}", int(min(room, rng.integers(20, 140))))
        threads.append(thread)
        room -= thread.size
    if seed % 3 == 0:
        last = threads.pop()
        extra = rng.integers(0, CONFIG.vocab_size, room).astype(np.int32)
        threads.append(TokenThread(last.thread_id, "", np.r_[last.prefix, extra], *_rest(last)))
        assert sum(t.size for t in threads) == T
    return threads


def _rest(thread):
    return thread.replies, thread.reply_weights, thread.pairs


@functools.cache
def _trees():
    """Weights, a policy adapter and a reference adapter that differ, all float64 and far from zero."""
    weights = decoder.init_params(jax.random.key(0), CONFIG, jnp.float64)
    shapes = lora.abstract(LORA, CONFIG, jnp.float64)

    def noise(seed, scale):
        leaves, tree = jax.tree.flatten(shapes)
        keys = jax.random.split(jax.random.key(seed), len(leaves))
        return jax.tree.unflatten(
            tree, [scale * jax.random.normal(k, x.shape, jnp.float64) for k, x in zip(keys, leaves, strict=True)]
        )

    return weights, noise(1, 0.5), noise(2, 0.5)


def _packed_loss(adapter, weights, reference, rows, backend):
    model = decoder.Decoder(CONFIG, dtype=jnp.float64, backend=backend, lora_scale=LORA.scale)
    frozen = {"base": weights, "reference": reference}
    total, metrics = step.objective_of(STAGE, model, SHAPE.slots)(adapter, frozen, rows)
    return total / metrics["loss"][1]


@functools.cache
def _packed(backend):
    return jax.jit(jax.value_and_grad(functools.partial(_packed_loss, backend=backend)))


@functools.cache
def _plain():
    return jax.jit(jax.value_and_grad(_plain_loss))


@functools.cache
def _plain_result(seed):
    weights, policy, reference = _trees()
    return _plain()(policy, weights, reference, _plain_batch(_random_row(seed)))


def _row(threads):
    row = {name: jnp.asarray(a)[None] for name, a in packing.build_row(threads, SHAPE).items()}
    return {name: a.astype(jnp.float64) if a.dtype == jnp.float32 else a for name, a in row.items()}


def _worst(packed, plain):
    """The largest difference of the loss and of any gradient leaf, relative to that leaf's largest entry."""
    (loss_a, grads_a), (loss_b, grads_b) = packed, plain
    assert jax.tree.structure(grads_a) == jax.tree.structure(grads_b)
    relative = lambda a, b: float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b)))
    return max(relative(loss_a, loss_b), *jax.tree.leaves(jax.tree.map(relative, grads_a, grads_b)))


@pytest.mark.parametrize("backend", attention.BACKENDS)
def test_packed_loss_and_gradients_equal_four_plain_forwards(backend):
    weights, policy, reference = _trees()
    packed = _packed(backend)
    for seed in range(PACKINGS):
        row = _row(_random_row(seed))
        assert _worst(packed(policy, weights, reference, row), _plain_result(seed)) < 1e-5, f"packing {seed}"


@pytest.mark.parametrize("backend", attention.BACKENDS)
@pytest.mark.parametrize("broken", ["replies see each other", "threads see each other", "prefix is hidden"])
def test_a_broken_mask_is_noticed(backend, broken, monkeypatch):
    original = attention.sees

    def sees(query, key, window):
        if broken == "replies see each other":
            query, key = (x._replace(branch=jnp.zeros_like(x.branch)) for x in (query, key))
        elif broken == "threads see each other":
            query, key = (x._replace(segment=jnp.ones_like(x.segment)) for x in (query, key))
        allowed = original(query, key, window)
        if broken == "prefix is hidden":
            allowed &= (key.branch != 0) | (query.branch == 0)
        return allowed

    monkeypatch.setattr(attention, "sees", sees)
    weights, policy, reference = _trees()
    # Made anew, because the compiled function of the other test holds the right mask.
    packed = jax.jit(jax.value_and_grad(functools.partial(_packed_loss, backend=backend)))
    assert _worst(packed(policy, weights, reference, _row(_random_row(1))), _plain_result(1)) > 1e-3


def test_loss_is_log_2_where_policy_equals_reference():
    weights, policy, _ = _trees()
    for seed in range(5):
        loss, _ = _packed("dense")(policy, weights, policy, _row(_random_row(seed)))
        assert abs(float(loss) - np.log(2)) < 1e-12
