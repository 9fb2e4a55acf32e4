"""Writes replies with one set of base weights and any number of adapters, one at a time or many side by side."""

import dataclasses
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from llumi_jax.cli import UserError
from llumi_jax.inference import network, slots, text
from llumi_jax.inference.sampling import Rows, Sampling
from llumi_jax.models.config import DecoderConfig

SMALLEST_BUCKET = 64  # tokens; buckets double from here, with one step between


@dataclasses.dataclass(frozen=True)
class Request:
    """One reply to write: the prompt's tokens, how to draw, and the seed that makes it the same every time."""

    prompt: tuple[int, ...]
    sampling: Sampling
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Completion:
    """A finished reply. `tokens` holds no stop token; `finish` is "stop" (by itself) or "length" (cut off)."""

    text: str
    tokens: tuple[int, ...]
    finish: str


def bucket(length: int) -> int:
    """The static length that `length` tokens are padded to: 64, 96, 128, 192, 256, 384, 512, …"""
    size = SMALLEST_BUCKET
    while size < length:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size


class Engine:
    """Base weights, adapters and a tokenizer, ready to write. Calls from several threads wait for each other.

    Attributes:
      config: the decoder.
      tokenizer: turns tokens into text.
      stop_ids: tokens that end a reply.
      smallest_capacity: cache slots of a reply at least; a high one means one program for replies of any length.
    """

    def __init__(
        self,
        config: DecoderConfig,
        params: dict,
        tokenizer: Any,
        stop_ids: Sequence[int],
        *,
        smallest_capacity: int = 0,
    ) -> None:
        if not stop_ids or len(stop_ids) > slots.MAX_STOPS:
            raise ValueError(f"an engine needs 1 to {slots.MAX_STOPS} stop tokens, got {len(stop_ids)}")
        self.config = config
        self.tokenizer = tokenizer
        self.stop_ids = frozenset(int(i) for i in stop_ids)
        self._stops = jnp.asarray(([*self.stop_ids] * slots.MAX_STOPS)[: slots.MAX_STOPS], jnp.int32)
        self._weights = network.cut_layers(params, config.num_layers)
        self._adapters: dict[str | None, dict | None] = {None: None}
        self._cache_dtype = self._weights["embed"]["embedding"].dtype
        self._smallest_capacity = smallest_capacity
        self._lock = threading.Lock()

    def add_adapter(self, name: str, lora: dict, scale: float) -> None:
        """Makes a LoRA tree addressable by name. Trees of the same ranks and targets share compiled programs."""
        folded = network.fold_scale(lora, scale)
        self._adapters[name] = network.cut_layers(folded, self.config.num_layers)

    def stream(
        self, request: Request, adapter: str | None = None, *, chunk: int = 4
    ) -> Generator[str, None, Completion]:
        """Yields the reply in pieces of whole characters as they are drawn, and returns it whole.

        Closing the generator stops the writing. `chunk` is how many tokens come at a time after the first.
        """
        pieces = text.TextStream(self.tokenizer)
        with self._lock:
            batch = _Batch(self, 1, self._capacity([request]), adapter)
            new = batch.admit(0, request)
            while True:
                if piece := pieces.push([t for t in new if t not in self.stop_ids]):
                    yield piece
                if not batch.writing(0):
                    break
                new = batch.advance(chunk)[0]
        if piece := pieces.flush():
            yield piece
        return batch.completion(0)

    def generate(
        self,
        requests: Sequence[Request],
        adapter: str | None = None,
        *,
        batch_size: int = 8,
        on_done: Callable[[int], None] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> list[Completion]:
        """Writes many replies, `batch_size` side by side; a slot that ends takes the next request at once.

        `on_done` hears the index of each request as its reply ends. `check` is called every few tokens; what it
        raises ends the writing.
        """
        if not requests:
            return []
        done: list[Completion | None] = [None] * len(requests)
        with self._lock:
            batch = _Batch(self, batch_size, self._capacity(requests), adapter)
            waiting = iter(range(len(requests)))
            held: dict[int, int] = {}
            while True:
                for slot in range(batch_size):
                    while slot not in held and (index := next(waiting, None)) is not None:
                        check()
                        batch.admit(slot, requests[index])
                        held[slot] = index
                        self._collect(batch, held, done, on_done)
                if not held:
                    return [c for c in done if c is not None]
                check()
                batch.advance(slots.CHUNK)
                self._collect(batch, held, done, on_done)

    def _collect(
        self, batch: "_Batch", held: dict[int, int], done: list, on_done: Callable[[int], None] | None
    ) -> None:
        for slot, index in list(held.items()):
            if not batch.writing(slot):
                done[index] = batch.completion(slot)
                del held[slot]
                if on_done:
                    on_done(index)

    def warm(self, prompt_tokens: int, adapter: str | None = None) -> None:
        """Compiles what a stream after a prompt of this length needs, by writing two tokens."""
        for _ in self.stream(Request((0,) * prompt_tokens, Sampling(max_tokens=2)), adapter):
            pass

    def _capacity(self, requests: Sequence[Request]) -> int:
        need = max(len(r.prompt) + r.sampling.max_tokens for r in requests)
        if need > self.config.max_position:
            raise UserError(
                f"a prompt and max_tokens need {need} positions and this model has {self.config.max_position}: "
                "shorten the text or give a smaller max_tokens."
            )
        return bucket(max(need, self._smallest_capacity))


class _Batch:
    """The host's view of B slots: which tokens each has drawn, and whether it is still writing."""

    def __init__(self, engine: Engine, size: int, capacity: int, adapter: str | None) -> None:
        if adapter not in engine._adapters:
            raise KeyError(f"no adapter {adapter!r}; there are {sorted(filter(None, engine._adapters))}")
        self._engine = engine
        self._lora = engine._adapters[adapter]
        self._slots = slots.Slots.empty(engine.config, size, capacity, engine._cache_dtype)
        self._drawn: list[list[int]] = [[] for _ in range(size)]
        self._limit = [0] * size

    def admit(self, slot: int, request: Request) -> list[int]:
        """Reads a prompt into a slot; returns the first token drawn."""
        engine = self._engine
        tokens = np.zeros((1, bucket(len(request.prompt))), np.int32)
        tokens[0, : len(request.prompt)] = request.prompt
        new = slots.Admission(
            slot=jnp.int32(slot),
            tokens=jnp.asarray(tokens),
            length=jnp.int32(len(request.prompt)),
            seed=jnp.uint32(request.seed % 2**32),
            limit=jnp.int32(request.sampling.max_tokens),
            rows=Rows.of([request.sampling]),
        )
        self._slots, token = slots.admit(engine.config, engine._weights, self._lora, self._slots, new, engine._stops)
        self._drawn[slot] = [int(token)]
        self._limit[slot] = request.sampling.max_tokens
        return [int(token)]

    def advance(self, steps: int) -> list[list[int]]:
        """Draws up to `steps` tokens in every slot that is writing; returns the new ones by slot."""
        engine = self._engine
        most = jnp.int32(min(steps, slots.CHUNK))
        self._slots, drawn = slots.advance(engine.config, engine._weights, self._lora, self._slots, most, engine._stops)
        new = [[int(t) for t in column if t != slots.NOTHING] for column in np.asarray(drawn).T]
        for all_drawn, fresh in zip(self._drawn, new, strict=True):
            all_drawn += fresh
        return new

    def writing(self, slot: int) -> bool:
        drawn = self._drawn[slot]
        return bool(drawn) and drawn[-1] not in self._engine.stop_ids and len(drawn) < self._limit[slot]

    def completion(self, slot: int) -> Completion:
        drawn = self._drawn[slot]
        stopped = drawn[-1] in self._engine.stop_ids
        tokens = tuple(drawn[:-1] if stopped else drawn)
        return Completion(text.decode(self._engine.tokenizer, tokens), tokens, "stop" if stopped else "length")
