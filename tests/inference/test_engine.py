"""The engine against transformers in torch, against a naive loop without a cache, and against itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llumi_jax.cli import UserError
from llumi_jax.inference import slots
from llumi_jax.inference.engine import Request, bucket
from llumi_jax.inference.sampling import Sampling
from llumi_jax.models import decoder, lora

GREEDY = Sampling(temperature=0, max_tokens=24)


def prompts(n, seed=0, longest=60):
    r = np.random.default_rng(seed)
    return [tuple(r.integers(0, 250, r.integers(1, longest)).tolist()) for _ in range(n)]


def test_greedy_equals_transformers(engine, hf_model):
    torch = pytest.importorskip("torch")
    for prompt in prompts(10):
        ids = torch.tensor([prompt])
        theirs = hf_model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=24,
            do_sample=False,
            eos_token_id=engine.tokenizer.eos_token_id,
        )[0, len(prompt) :].tolist()
        ours = engine.generate([Request(prompt, GREEDY)], batch_size=1)[0]
        assert list(ours.tokens) == [t for t in theirs if t not in engine.stop_ids]


@pytest.mark.parametrize("adapter", [None, "gm", "im"])
def test_greedy_equals_a_loop_without_cache(engine, config, params, lora_tree, adapter):
    adapters = {"gm": (lora_tree(1), 1.0), "im": (lora_tree(2), 2.0)}
    merged = lora.merge(params, *adapters[adapter]) if adapter else params
    model = decoder.Decoder(config)

    @jax.jit
    def next_token(tokens, length):
        at = jnp.arange(tokens.shape[1])[None]
        segment = (at < length).astype(jnp.int32)
        hidden = model.apply({"params": merged}, tokens, at, segment, jnp.zeros_like(at))
        return jnp.argmax(decoder.logits(merged, hidden[0, length - 1]))

    for prompt in prompts(3, seed=1):
        tokens = list(prompt)
        for _ in range(GREEDY.max_tokens):
            padded = np.zeros((1, 160), np.int32)
            padded[0, : len(tokens)] = tokens
            tokens.append(int(next_token(padded, len(tokens))))
            if tokens[-1] in engine.stop_ids:
                break
        expected = [t for t in tokens[len(prompt) :] if t not in engine.stop_ids]
        assert list(engine.generate([Request(prompt, GREEDY)], adapter, batch_size=1)[0].tokens) == expected


def test_a_batch_writes_what_each_request_writes_alone(engine):
    r = np.random.default_rng(3)
    requests = [
        Request(
            p,
            Sampling(
                temperature=float(r.choice([0, 0.8, 1.5])),
                top_k=int(r.choice([0, 20])),
                max_tokens=int(r.integers(1, 30)),
            ),
            i,
        )
        for i, p in enumerate(prompts(11, seed=2))
    ]
    finished = []
    together = engine.generate(requests, "gm", batch_size=4, on_done=finished.append)
    assert sorted(finished) == list(range(11))
    for request, completion in zip(requests, together, strict=True):
        assert engine.generate([request], "gm", batch_size=1)[0] == completion
        assert len(completion.tokens) <= request.sampling.max_tokens


def test_seeds_reproduce_and_differ(engine):
    prompt = prompts(1, seed=4)[0]
    hot = Sampling(temperature=1.5, max_tokens=20)

    def write(seed):
        return engine.generate([Request(prompt, hot, seed)])[0].tokens

    assert write(7) == write(7)
    assert write(7) != write(8)


def test_stream_joins_to_the_completion(engine):
    hot = Sampling(temperature=2.0, max_tokens=60)  # random bytes: characters are cut across tokens all the time
    for seed in range(6):
        request = Request(prompts(1, seed=seed)[0], hot, seed)
        stream, pieces = engine.stream(request, "im"), []
        while True:
            try:
                pieces.append(next(stream))
            except StopIteration as end:
                completion = end.value
                break
        assert "".join(pieces) == completion.text == engine.generate([request], "im")[0].text


def test_closing_a_stream_frees_the_engine(engine):
    stream = engine.stream(Request(prompts(1)[0], GREEDY))
    next(stream)
    stream.close()
    assert engine.generate([Request(prompts(1)[0], GREEDY)])


def test_stops_at_the_end_of_turn(engine, config, params, tokenizer):
    from llumi_jax.inference.engine import Engine

    prompt = prompts(1, seed=9)[0]
    free = engine.generate([Request(prompt, GREEDY)], batch_size=1)[0].tokens
    stop = free[5]
    stopping = Engine(config, params, tokenizer, [stop])
    completion = stopping.generate([Request(prompt, GREEDY)], batch_size=1)[0]
    assert completion.tokens == free[: free.index(stop)] and completion.finish == "stop"


def test_nothing_recompiles_between_requests_adapters_and_settings(engine):
    def write(adapter, seed, **settings):
        engine.generate([Request((1, 2, 3), Sampling(max_tokens=9, **settings), seed)], adapter, batch_size=2)

    write("gm", 0)
    before = slots.admit._cache_size(), slots.advance._cache_size()
    write("im", 1, temperature=0)
    write("gm", 2, top_k=5, top_p=0.5, min_p=0.1, repetition_penalty=1.3)
    assert (slots.admit._cache_size(), slots.advance._cache_size()) == before


def test_buckets_grow_in_steps():
    sizes = sorted({bucket(n) for n in range(1, 3000)})
    assert sizes == [64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072]
    assert all(bucket(n) >= n for n in range(1, 3000))


def test_too_long_a_prompt_is_refused(engine):
    with pytest.raises(UserError, match="2048"):
        engine.generate([Request(tuple(range(200)) * 11, GREEDY)])
