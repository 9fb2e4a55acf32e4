"""Texts to vectors: a BERT encoder with mean pooling as pure functions, and a class that batches and remembers.

Two texts that say the same lie close together: the cosine of their vectors is their dot product, since every vector
has length 1. The functions follow the checkpoint's own (arXiv:1810.04805; pooling: arXiv:1908.10084), in float32.

Shapes: B rows, T tokens of a row, D model, H heads, N head size, F feed-forward, L layers.
"""

import dataclasses
import functools
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from llumi_jax.cli import UserError

FILES = ("config.json", "model.safetensors", "tokenizer.json")
DEFAULT_MAX_TOKENS = 256
CACHE_SIZE = 50_000  # texts; a vector of 384 numbers takes 1.5 kB
# A batch is one of few shapes, so that few programs are compiled.
WIDTHS = (32, 64, 96, 128, 192, 256, 384, 512)  # tokens
HEIGHTS = (1, 4, 16)  # rows
TOKENS_PER_BATCH = 1024  # more are slower on a CPU: activations leave its caches
_TEXTS_AT_ONCE = 4096  # tokenised and sorted together
_MASKED = -1e30


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """Sizes of a BERT encoder."""

    vocab_size: int
    hidden_size: int  # D
    intermediate_size: int  # F
    num_layers: int  # L
    num_heads: int  # H
    max_position: int
    norm_eps: float

    @classmethod
    def from_hf(cls, values: dict[str, Any], where: str = "config.json") -> "EncoderConfig":
        """Reads the values of a Hugging Face config.json.

        Raises:
          UserError: it is no BERT, or one with parts that this encoder does not have.
        """
        for key, needed in (("model_type", "bert"), ("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
            if values.get(key, needed) != needed:
                raise UserError(
                    f"{where}: {key} is {values[key]!r}, this encoder needs {needed!r}. Take another model."
                )
        names = {
            "num_layers": "num_hidden_layers",
            "num_heads": "num_attention_heads",
            "max_position": "max_position_embeddings",
            "norm_eps": "layer_norm_eps",
        }
        keys = {field.name: names.get(field.name, field.name) for field in dataclasses.fields(cls)}
        missing = [key for key in keys.values() if key not in values]
        if missing:
            raise UserError(f"{where} has no {missing[0]!r}. Fetch the model again.")
        return cls(**{name: values[key] for name, key in keys.items()})


def hidden_states(
    params: dict, config: EncoderConfig, tokens: Int[Array, "B T"], lengths: Int[Array, " B"]
) -> Float[Array, "B T D"]:
    """Hidden states of the last layer; tokens from `lengths` on are padding, which nothing attends to."""
    embeddings = params["embeddings"]
    x = embeddings["word"][tokens] + embeddings["position"][: tokens.shape[1]] + embeddings["type"]
    x = _norm(x, embeddings["norm"], config.norm_eps)
    bias = jnp.where(_is_token(tokens, lengths), 0.0, _MASKED)[:, None, None, :]

    def layer(x: Float[Array, "B T D"], weights: dict) -> tuple[Float[Array, "B T D"], None]:
        x = _norm(x + _attention(x, weights, bias, config.num_heads), weights["attention_norm"], config.norm_eps)
        wide = jax.nn.gelu(_dense(x, weights["up"]), approximate=False)
        return _norm(x + _dense(wide, weights["down"]), weights["output_norm"], config.norm_eps), None

    return jax.lax.scan(layer, x, params["layers"])[0]


def embed(
    params: dict, config: EncoderConfig, tokens: Int[Array, "B T"], lengths: Int[Array, " B"]
) -> Float[Array, "B D"]:
    """Unit vectors: the mean of each row's hidden states, scaled to length 1 (0 for a row without tokens)."""
    hidden = hidden_states(params, config, tokens, lengths)
    total = jnp.sum(hidden * _is_token(tokens, lengths)[..., None], axis=1)
    mean = total / jnp.maximum(lengths, 1)[:, None]
    return mean / jnp.maximum(jnp.linalg.norm(mean, axis=-1, keepdims=True), 1e-12)


_embed = functools.partial(jax.jit, static_argnames="config")(embed)


def _is_token(tokens: Int[Array, "B T"], lengths: Int[Array, " B"]) -> Array:
    return jnp.arange(tokens.shape[1])[None] < lengths[:, None]


def _norm(x: Float[Array, "*B D"], weights: dict, eps: float) -> Float[Array, "*B D"]:
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(centred**2, axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + eps) * weights["scale"] + weights["bias"]


def _dense(x: Float[Array, "*B I"], weights: dict) -> Float[Array, "*B O"]:
    # "highest": some accelerators would round float32 factors, and cosines are compared with thresholds.
    return jnp.matmul(x, weights["kernel"], precision="highest") + weights["bias"]


def _attention(x: Float[Array, "B T D"], weights: dict, bias: Float[Array, "B 1 1 T"], heads: int):
    B, T, D = x.shape
    q, k, v = (_dense(x, weights[name]).reshape(B, T, heads, D // heads) for name in "qkv")
    scores = jnp.einsum("BTHN,BSHN->BHTS", q, k, precision="highest") / np.sqrt(D // heads)
    mixed = jnp.einsum("BHTS,BSHN->BTHN", jax.nn.softmax(scores + bias, axis=-1), v, precision="highest")
    return _dense(mixed.reshape(B, T, D), weights["o"])


# Ours -> the checkpoint's, in every layer.
_DENSE = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "o": "attention.output.dense",
    "up": "intermediate.dense",
    "down": "output.dense",
}
_NORMS = {"attention_norm": "attention.output.LayerNorm", "output_norm": "output.LayerNorm"}


def params_from_hf(read: Callable[[str], np.ndarray], config: EncoderConfig) -> dict:
    """Builds the tree from tensors read by their Hugging Face names; layers are stacked along a leading axis [L, …].

    All sentences are of token type 0, so that only this row of the type table is kept.
    """

    def dense(name: str) -> dict:
        return {"kernel": read(f"{name}.weight").T, "bias": read(f"{name}.bias")}

    def norm(name: str) -> dict:
        return {"scale": read(f"{name}.weight"), "bias": read(f"{name}.bias")}

    def layer(index: int) -> dict:
        at = f"encoder.layer.{index}"
        found = {ours: dense(f"{at}.{theirs}") for ours, theirs in _DENSE.items()}
        return found | {ours: norm(f"{at}.{theirs}") for ours, theirs in _NORMS.items()}

    layers = [layer(index) for index in range(config.num_layers)]
    tree = {
        "embeddings": {
            "word": read("embeddings.word_embeddings.weight"),
            "position": read("embeddings.position_embeddings.weight"),
            "type": read("embeddings.token_type_embeddings.weight")[0],
            "norm": norm("embeddings.LayerNorm"),
        },
        "layers": jax.tree.map(lambda *parts: np.stack(parts), *layers),
    }
    return jax.tree.map(lambda array: jnp.asarray(array, jnp.float32), tree)


class SentenceEncoder:
    """Embeds texts in batches of like length, and remembers the vectors of the texts asked last.

    Calls from several threads wait for each other.
    """

    def __init__(
        self,
        config: EncoderConfig,
        params: dict,
        tokenizer: Any,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        cache_size: int = CACHE_SIZE,
    ) -> None:
        """`tokenizer`: one of the library `tokenizers`. Its own truncation and padding are set aside."""
        self.config = config
        self.max_tokens = min(max_tokens, config.max_position)
        self._params = params
        self._tokenizer = tokenizer
        self._tokenizer.enable_truncation(self.max_tokens)
        self._tokenizer.no_padding()
        self._widths = tuple(width for width in WIDTHS if width < self.max_tokens) + (self.max_tokens,)
        self._cache: OrderedDict[bytes, np.ndarray] = OrderedDict()
        self._cache_size, self._reserved = cache_size, 0
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: str | Path, cache_size: int = CACHE_SIZE) -> "SentenceEncoder":
        """Loads the files of FILES from a folder, and the limit in tokens of its sentence_bert_config.json.

        Raises:
          UserError: a file is missing, damaged, or of another kind of model.
        """
        from tokenizers import Tokenizer

        folder = Path(folder)
        for name in FILES:
            if not (folder / name).exists():
                raise UserError(f"{folder} has no {name}, which a sentence encoder needs. Fetch the model again.")
        config = EncoderConfig.from_hf(_json(folder / "config.json"), str(folder / "config.json"))
        limits = folder / "sentence_bert_config.json"
        limit = _json(limits).get("max_seq_length") if limits.exists() else None
        params = _load_params(folder / "model.safetensors", config)
        try:
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # The library raises nothing narrower.
            raise UserError(f"{folder / 'tokenizer.json'} is no tokenizer ({error}). Fetch the model again.") from None
        return cls(config, params, tokenizer, limit or DEFAULT_MAX_TOKENS, cache_size)

    def reserve(self, texts: int) -> None:
        """Makes room to remember so many texts of one call beside those asked later; 1.5 kB each where D = 384."""
        self._reserved = max(self._reserved, texts)

    def encode(
        self, texts: Sequence[str], on_done: Callable[[int], None] = lambda texts: None
    ) -> Float[np.ndarray, "n D"]:
        """Returns one unit vector a text, in the given order. A text beyond the limit in tokens loses its end.

        `on_done` hears how many texts were dealt with since it was last called.
        """
        keys = [hashlib.blake2b(_whole(text), digest_size=16).digest() for text in texts]
        with self._lock:
            found = {key: self._cache[key] for key in keys if key in self._cache}
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
            on_done(len(texts) - len(missing))
            for some, vectors in self._compute(missing):
                found.update(zip(some, vectors, strict=True))
                on_done(len(some))
            self._remember(keys, found)
        return np.stack([found[key] for key in keys]) if keys else np.zeros((0, self.config.hidden_size), np.float32)

    def _remember(self, keys: Sequence[bytes], found: dict[bytes, np.ndarray]) -> None:
        for key in keys:
            self._cache[key] = found[key]
            self._cache.move_to_end(key)
        while len(self._cache) > self._cache_size + self._reserved:
            self._cache.popitem(last=False)

    def _compute(self, texts: dict[bytes, str]) -> Iterator[tuple[list[bytes], list[np.ndarray]]]:
        """Yields keys and vectors batch by batch."""
        keys = list(texts)
        for start in range(0, len(keys), _TEXTS_AT_ONCE):
            some = keys[start : start + _TEXTS_AT_ONCE]
            encoded = self._tokenizer.encode_batch([_whole(texts[key]).decode() for key in some])
            ids = [encoding.ids for encoding in encoded]
            for rows, width in batches([len(row) for row in ids], self._widths):
                vectors = np.asarray(self._run([ids[row] for row in rows], width))
                yield [some[row] for row in rows], [vectors[i].copy() for i in range(len(rows))]

    def _run(self, ids: Sequence[Sequence[int]], width: int) -> Float[Array, "B D"]:
        height = next((height for height in HEIGHTS if height >= len(ids)), len(ids))
        tokens, lengths = np.zeros((height, width), np.int32), np.zeros(height, np.int32)
        for row, values in enumerate(ids):
            tokens[row, : len(values)] = values
            lengths[row] = len(values)
        return _embed(self._params, self.config, tokens, lengths)


def batches(lengths: Sequence[int], widths: Sequence[int]) -> Iterator[tuple[list[int], int]]:
    """Yields (indices, width): the texts sorted by length and cut into batches that fit into few padded shapes.

    A batch has at most `TOKENS_PER_BATCH` tokens, padding included, and a number of rows that is one of HEIGHTS or
    below it; `widths` grow, and the last is no smaller than the longest text.
    """
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    start = 0
    for width in widths:
        end = start
        while end < len(order) and lengths[order[end]] <= width:
            end += 1
        most = max((height for height in HEIGHTS if height * width <= TOKENS_PER_BATCH), default=1)
        for first in range(start, end, most):
            yield order[first : min(first + most, end)], width
        start = end


def _whole(text: str) -> bytes:
    """UTF-8; half a character, which old dumps hold, becomes a question mark."""
    return text.encode("utf-8", "replace")


def _load_params(path: Path, config: EncoderConfig) -> dict:
    import safetensors

    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return params_from_hf(file.get_tensor, config)
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged or of another model ({error}). Fetch it again.") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}). Fetch it again.") from None
