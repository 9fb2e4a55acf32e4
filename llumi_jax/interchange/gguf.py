"""Reading GGUF files (the format of llama.cpp): configuration, weights and tokenizer."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from llumi_jax.cli import UserError
from llumi_jax.models import families
from llumi_jax.models.config import DecoderConfig

_CONTROL, _USER_DEFINED = 3, 4  # values of tokenizer.ggml.token_type
_GPT2_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# How llama.cpp splits text before merging, by tokenizer.ggml.pre: each pattern cuts the pieces left by the one before.
_SPLITS = {
    "gpt-2": (_GPT2_SPLIT,),
    "default": (_GPT2_SPLIT,),
    "smollm": (r"\p{N}", _GPT2_SPLIT),
    "qwen2": (_QWEN2_SPLIT,),
    "deepseek-r1-qwen": (_QWEN2_SPLIT,),
}


class GGUFFile:
    """One GGUF file as a source of tensors under their Hugging Face names (see `tensors.TensorSource`)."""

    def __init__(self, path: Path):
        import gguf

        self.path = path
        self.where = str(path)
        try:
            self._reader = gguf.GGUFReader(path)
        except (ValueError, IndexError, OSError) as error:
            raise UserError(f"{path} is truncated or no GGUF file ({error}). Fetch it again.") from error
        self._by_gguf_name = {tensor.name: tensor for tensor in self._reader.tensors}

    def field(self, key: str, default: Any = None) -> Any:
        """A metadata value. UserError when it is absent and no default is given."""
        found = self._reader.get_field(key)
        if found is not None:
            return found.contents()
        if default is None:
            raise UserError(f"{self.path} has no {key!r} in its metadata. Take another GGUF file of this model.")
        return default

    def has_field(self, key: str) -> bool:
        return self._reader.get_field(key) is not None

    @cached_property
    def config(self) -> DecoderConfig:
        """The decoder this file describes. UserError for an architecture or a feature that is not supported."""
        arch = self.field("general.architecture")
        family = next((f for f in families.FAMILIES.values() if f.gguf == arch), None)
        if family is None:
            known = sorted({f.gguf for f in families.FAMILIES.values()})
            raise UserError(
                f"{self.path}: the GGUF architecture {arch!r} is not supported. Supported: {', '.join(known)}."
            )
        if "rope_freqs.weight" in self._by_gguf_name or self.has_field(f"{arch}.rope.scaling.type"):
            raise UserError(
                f"{self.path} scales its rotary embedding, which GGUF import does not support: take the safetensors."
            )
        hidden, heads = self.field(f"{arch}.embedding_length"), self.field(f"{arch}.attention.head_count")
        return DecoderConfig(
            family=family.name,
            vocab_size=self._shape("token_embd.weight")[0],
            hidden_size=hidden,
            intermediate_size=self.field(f"{arch}.feed_forward_length"),
            num_layers=self.field(f"{arch}.block_count"),
            num_heads=heads,
            num_kv_heads=self.field(f"{arch}.attention.head_count_kv", heads),
            head_dim=self.field(f"{arch}.attention.key_length", hidden // heads),
            rope_theta=float(self.field(f"{arch}.rope.freq_base", 10_000.0)),
            norm_eps=float(np.float32(self.field(f"{arch}.attention.layer_norm_rms_epsilon")).astype(str)),
            tie_embeddings="output.weight" not in self._by_gguf_name,
            qkv_bias=family.qkv_bias,
            max_position=self.field(f"{arch}.context_length"),
        )

    @cached_property
    def _gguf_name(self) -> dict[str, tuple[str, families.Weight | None]]:
        """Hugging Face name -> (name here, row of the weight table); tensors without a row keep their name."""
        rows = {}
        for weight in families.weights(self.config):
            for layer in range(self.config.num_layers if weight.stacked else 1):
                rows[weight.gguf.format(layer=layer)] = (weight.hf.format(layer=layer), weight)
        named = {name: rows.get(name, (name, None)) for name in self._by_gguf_name}
        return {hf: (name, weight) for name, (hf, weight) in named.items()}

    def names(self) -> Iterable[str]:
        return self._gguf_name

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shape(self._gguf_name[name][0])

    def read(self, name: str) -> np.ndarray:
        """The tensor, dequantised to float32 and in Hugging Face order."""
        import gguf

        gguf_name, weight = self._gguf_name[name]
        tensor = self._by_gguf_name[gguf_name]
        array = gguf.dequantize(tensor.data, tensor.tensor_type)
        target = weight.target if weight else None
        if target in ("q", "k") and families.FAMILIES[self.config.family].gguf_permuted:
            return unpermute(array, self.config.num_heads if target == "q" else self.config.num_kv_heads)
        return array

    def _shape(self, gguf_name: str) -> tuple[int, ...]:
        if gguf_name not in self._by_gguf_name:
            raise UserError(f"{self.path} has no tensor {gguf_name!r}. Fetch the file again.")
        return tuple(int(size) for size in reversed(self._by_gguf_name[gguf_name].shape))

    def tokenizer(self):
        """The tokenizer inside the file, as transformers' fast tokenizer with its chat template.

        transformers' own GGUF import splits digits otherwise than SmolLM2 was trained, so this one is built from the
        table above. UserError for SentencePiece vocabularies, which a GGUF file does not hold exactly.
        """
        from transformers import PreTrainedTokenizerFast

        tokens = self.field("tokenizer.ggml.tokens")
        special = {
            name: tokens[self.field(f"tokenizer.ggml.{key}_token_id")]
            for name, key in (
                ("bos_token", "bos"),
                ("eos_token", "eos"),
                ("unk_token", "unknown"),
                ("pad_token", "padding"),
            )
            if self.has_field(f"tokenizer.ggml.{key}_token_id")
        }
        template = self.field("tokenizer.chat_template") if self.has_field("tokenizer.chat_template") else None
        return PreTrainedTokenizerFast(
            tokenizer_object=self._byte_level_tokenizer(tokens, special.get("bos_token")),
            chat_template=template,
            model_max_length=self.config.max_position,
            clean_up_tokenization_spaces=False,
            **special,
        )

    def _byte_level_tokenizer(self, tokens: list[str], bos: str | None):
        from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

        kind, pre = self.field("tokenizer.ggml.model"), self.field("tokenizer.ggml.pre", "default")
        if kind != "gpt2" or pre not in _SPLITS:
            raise UserError(
                f"{self.path}: its tokenizer ({kind}, {pre}) cannot be rebuilt exactly from a GGUF file. "
                "Put the model's tokenizer.json and tokenizer_config.json beside the file."
            )
        merges = [tuple(merge.split(" ")) for merge in self.field("tokenizer.ggml.merges")]
        tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
        if pre in ("qwen2", "deepseek-r1-qwen"):
            tokenizer.normalizer = normalizers.NFC()
        splits = [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in _SPLITS[pre]]
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level])
        tokenizer.decoder = decoders.ByteLevel()
        types = self.field("tokenizer.ggml.token_type")
        for kind, add in ((_CONTROL, tokenizer.add_special_tokens), (_USER_DEFINED, tokenizer.add_tokens)):
            marked = [t for t, type_ in zip(tokens, types, strict=True) if type_ == kind]
            add([AddedToken(token, normalized=False, special=kind == _CONTROL) for token in marked])
        if bos and self.has_field("tokenizer.ggml.add_bos_token") and self.field("tokenizer.ggml.add_bos_token"):
            tokenizer.post_processor = processors.TemplateProcessing(
                single=f"{bos} $A", special_tokens=[(bos, tokens.index(bos))]
            )
        return tokenizer


def unpermute(rows: np.ndarray, heads: int) -> np.ndarray:
    """Undoes llama.cpp's order of the rows of q or k: [heads * (half, 2), in] -> [heads * (2, half), in]."""
    shape = rows.shape
    return rows.reshape(heads, shape[0] // heads // 2, 2, *shape[1:]).swapaxes(1, 2).reshape(shape)
