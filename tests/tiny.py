"""Tiny decoders made on the spot: a random Llama of transformers, its weights in our tree, a byte-level tokenizer."""

import numpy as np
import pytest

VOCAB = 320
END, START = "<|im_end|>", "<|im_start|>"


@pytest.fixture(scope="session")
def tokenizer():
    """Every byte is a token, a few merges on top, and a ChatML template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {c: i for i, c in enumerate(alphabet)}
    merges = [("h", "e"), ("Ġ", "t"), ("i", "n"), ("e", "r")]
    for a, b in merges:
        vocab[a + b] = len(vocab)
    raw = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=START, eos_token=END, pad_token="<|pad|>")
    fast.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return fast


@pytest.fixture(scope="session")
def hf_model():
    """A random Llama with grouped heads, sharp enough that its greedy choices are not near-ties."""
    torch = pytest.importorskip("torch")
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=2048, rms_norm_eps=1e-5, tie_word_embeddings=True,
        initializer_range=0.3, bos_token_id=None, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="session")
def config():
    from llumi_jax.models.config import DecoderConfig

    return DecoderConfig(
        family="llama", vocab_size=VOCAB, hidden_size=48, intermediate_size=96, num_layers=3, num_heads=6,
        num_kv_heads=2, head_dim=8, tie_embeddings=True, max_position=2048,
    )  # fmt: skip


@pytest.fixture(scope="session")
def params(hf_model):
    """The same weights as `hf_model`, put into our tree by hand (independent of the interchange)."""
    state = {name: value.detach().numpy() for name, value in hf_model.state_dict().items()}

    def stack(name, shape=None):
        parts = [state[f"model.layers.{i}.{name}.weight"] for i in range(3)]
        return np.stack([p.T.reshape(shape) if shape else p.T if p.ndim == 2 else p for p in parts])

    return {
        "embed": {"embedding": state["model.embed_tokens.weight"]},
        "final_norm": {"scale": state["model.norm.weight"]},
        "layers": {
            "input_norm": {"scale": stack("input_layernorm")},
            "post_attention_norm": {"scale": stack("post_attention_layernorm")},
            "attention": {
                "q": {"kernel": stack("self_attn.q_proj", (48, 6, 8))},
                "k": {"kernel": stack("self_attn.k_proj", (48, 2, 8))},
                "v": {"kernel": stack("self_attn.v_proj", (48, 2, 8))},
                "o": {"kernel": stack("self_attn.o_proj", (6, 8, 48))},
            },
            "mlp": {n: {"kernel": stack(f"mlp.{n}_proj")} for n in ("gate", "up", "down")},
        },
    }


@pytest.fixture(scope="session")
def lora_tree(config):
    """A factory of random LoRA trees of rank 4 with a delta that is not zero."""
    import jax

    from llumi_jax.models import lora

    def make(seed):
        tree = lora.init(jax.random.key(seed), lora.LoraConfig(rank=4, alpha=4), config)
        keys = iter(jax.random.split(jax.random.key(seed + 1000), 64))
        return jax.tree.map(lambda x: jax.random.normal(next(keys), x.shape) * 0.2, tree)

    return make


@pytest.fixture(scope="session")
def engine(config, params, tokenizer, lora_tree):
    from llumi_jax.inference.engine import Engine

    engine = Engine(config, params, tokenizer, [tokenizer.eos_token_id])
    engine.add_adapter("gm", lora_tree(1), 1.0)
    engine.add_adapter("im", lora_tree(2), 2.0)
    return engine


@pytest.fixture(scope="session")
def model_folder(hf_model, tokenizer, tmp_path_factory):
    """The tiny model as a Hugging Face folder, as a command takes it."""
    folder = tmp_path_factory.mktemp("model")
    hf_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
