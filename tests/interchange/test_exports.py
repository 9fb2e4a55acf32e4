"""Exports, read by torch, transformers and peft; and the proof that refuses a wrong one."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from llumi_jax.cli import UserError
from llumi_jax.interchange import card, huggingface, parity, peft, sources, tensors, tokenizers
from llumi_jax.models import lora
from llumi_jax.models.lora import LoraConfig


def _random_lora(setup, config):
    rng = np.random.default_rng(7)
    draw = functools.partial(rng.normal, 0.0, 0.1)
    return jax.tree.map(lambda x: draw(x.shape).astype(np.float32), lora.abstract(setup, config))


def _all_tensors(folder):
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        found.update(load_file(path))
    return found


@pytest.mark.parametrize(
    ("family", "dtype", "overrides"),
    [
        ("llama", "float32", {"tie_word_embeddings": True}),
        ("mistral", "bfloat16", {"sliding_window": 7, "head_dim": 20}),
        ("qwen2", "float16", {"num_key_value_heads": 1}),
    ],
)
def test_round_trip_through_our_checkpoint_is_byte_equal(family, dtype, overrides, tmp_path, make_hf):
    make_hf(tmp_path / "hf", family, dtype=dtype, **overrides)
    huggingface.from_hf(str(tmp_path / "hf"), tmp_path / "native", dtype=dtype)
    huggingface.to_hf(str(tmp_path / "native"), tmp_path / "back", shard_bytes=60_000)
    assert (tmp_path / "back" / tensors.INDEX).exists()
    before, after = _all_tensors(tmp_path / "hf"), _all_tensors(tmp_path / "back")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert tensor.dtype == after[name].dtype and tensor.shape == after[name].shape
        assert tensor.contiguous().view(torch.uint8).equal(after[name].view(torch.uint8)), name
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (tmp_path / "hf" / name).read_bytes() == (tmp_path / "back" / name).read_bytes()


def test_merged_export_of_a_stage_in_torch(tmp_path, make_hf, make_stage, our_logits, torch_logits, some_tokens):
    make_hf(tmp_path / "hf", "llama")
    config = sources.load_config(str(tmp_path / "hf"))
    setup = LoraConfig(rank=4, alpha=8.0)
    stage = make_stage(str(tmp_path / "hf"), config, setup, _random_lora(setup, config))
    report = huggingface.to_hf(str(stage), tmp_path / "out")
    trained = sources.load_model(str(stage))

    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", attn_implementation="eager").eval()
    assert model.dtype == torch.float32
    np.testing.assert_allclose(torch_logits(model, some_tokens), our_logits(trained, some_tokens), atol=1e-4)
    assert model.generation_config.eos_token_id == 258

    assert report == json.loads((tmp_path / "out" / huggingface.REPORT).read_text())
    assert report["passed"] and report["parity"]["greedy_agreement"] == 1.0
    listed = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*")} - {huggingface.REPORT}
    assert set(report["files"]) == listed
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written["rope_theta"] == written["rope_parameters"]["rope_theta"] == 10000.0
    assert written["torch_dtype"] == written["dtype"] == "float32"
    assert json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["chat_template"]
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "Demonstration model: do not use with people in distress" in readme
    assert "gm_dpo (dpo)" in readme and "rank 4" in readme


@pytest.mark.parametrize("setup", [LoraConfig(rank=4, alpha=8.0), LoraConfig(3, 6.0, True, ("v", "o", "gate", "down"))])
def test_adapter_in_peft_equals_ours(setup, tmp_path, make_hf, make_stage, our_logits, torch_logits, some_tokens):
    from peft import PeftModel

    base = make_hf(tmp_path / "hf", "qwen2", head_dim=20)
    config = sources.load_config(str(tmp_path / "hf"))
    stage = make_stage(str(tmp_path / "hf"), config, setup, _random_lora(setup, config))
    huggingface.to_peft(str(stage), tmp_path / "adapter")
    trained = sources.load_model(str(stage))
    theirs = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    expected = our_logits(trained, some_tokens)
    np.testing.assert_allclose(torch_logits(theirs, some_tokens), expected, atol=1e-4)

    again = sources.load_model(str(tmp_path / "adapter"))
    assert again.lora_config == dataclasses.replace(setup, targets=again.lora_config.targets)
    assert set(again.lora_config.targets) == set(setup.targets)
    np.testing.assert_array_equal(our_logits(again, some_tokens), expected)


def test_an_adapter_that_peft_saved_is_read(tmp_path, make_hf, our_logits, torch_logits, some_tokens):
    from peft import LoraConfig as PeftConfig
    from peft import get_peft_model

    base = make_hf(tmp_path / "hf", "mistral")
    setup = PeftConfig(r=5, lora_alpha=10, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    model = get_peft_model(base, setup).eval()
    model.peft_config["default"].base_model_name_or_path = str(tmp_path / "hf")
    model.save_pretrained(tmp_path / "adapter")
    loaded = sources.load_model(str(tmp_path / "adapter"))
    np.testing.assert_allclose(our_logits(loaded, some_tokens), torch_logits(model, some_tokens), atol=1e-4)

    make_hf(tmp_path / "wider", "mistral", hidden_size=64)
    _edit(tmp_path / "adapter" / peft.CONFIG, base_model_name_or_path=str(tmp_path / "wider"))
    with pytest.raises(UserError, match="lora_A.*Is this the adapter's own base"):
        sources.load_model(str(tmp_path / "adapter"))
    _edit(tmp_path / "adapter" / peft.CONFIG, base_model_name_or_path=str(tmp_path / "hf"), use_dora=True)
    with pytest.raises(UserError, match="use_dora"):
        sources.load_model(str(tmp_path / "adapter"))
    _edit(tmp_path / "adapter" / peft.CONFIG, use_dora=False, base_model_name_or_path=None)
    with pytest.raises(UserError, match="does not name its base"):
        sources.load_model(str(tmp_path / "adapter"))


def _edit(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_the_proof_refuses_a_corrupt_tensor_and_keeps_the_folder(tmp_path, make_hf, monkeypatch):
    make_hf(tmp_path / "hf", "llama")
    write = tensors.write_sharded

    def corrupting(folder, *args):
        write(folder, *args)
        found = load_file(folder / "model.safetensors")
        name = "model.layers.1.self_attn.k_proj.weight"
        found[name] = found[name].flip(0).contiguous()
        save_file(found, folder / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(tensors, "write_sharded", corrupting)
    with pytest.raises(parity.ParityError, match="max_logit_difference"):
        huggingface.to_hf(str(tmp_path / "hf"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    report = json.loads((tmp_path / "out.partial" / huggingface.REPORT).read_text())
    assert not report["passed"] and report["problems"]
    monkeypatch.undo()
    kept = _contents(tmp_path / "out.partial")
    assert huggingface.to_hf(str(tmp_path / "hf"), tmp_path / "out")["passed"]
    assert _contents(tmp_path / "out.partial") == kept  # the failed try can still be looked at
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf", "out", "out.partial"]


def _contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


TRAINED = {
    "recipe": {
        "objective": "dpo", "loss": "sigmoid", "beta": 0.1, "steps": 1400, "learning_rate": 0.0, "seed": 12345,
        "optimizer": {"name": "adamw", "weight_decay": 0.0, "clip_norm": 1.0}, "lora": None, "batch_rows": 8,
        "schedule": [{"name": "constant", "value": 1e-5, "steps": 10}, {"name": "cosine", "peak_value": 1e-4}],
        "row_length": 1024,
    },
    "data": {"dataset": "made:Up/pairs", "pairs": 62, "replies": 120, "held_out_pairs": 0},
}  # fmt: skip


def test_the_card_tells_how_it_was_trained_and_on_what():
    stage = {"name": "gm_dpo", "objective": "dpo", **TRAINED}
    lines = card._training({"stage": stage}).splitlines()
    assert lines[2:] == [
        "- Stage: gm_dpo (dpo)",
        "- Steps: 1400",
        "- Loss: sigmoid",
        "- Beta: 0.1",
        "- Optimizer: adamw, weight_decay 0, clip_norm 1",
        "- Schedule: constant, value 1e-05, steps 10; cosine, peak_value 0.0001",
        "- Rows a step: 8",
        "- Tokens of a row: 1024",
        "- Seed: 12345",
        "- Dataset: made:Up/pairs",
        "- Pairs trained on: 62",
        "- Replies trained on: 120",
        "- Held-out pairs: 0",
    ]
    stage = {**stage, "objective": "sft", "recipe": {**TRAINED["recipe"], "learning_rate": 5e-4}}
    text = card._training({"stage": stage})
    assert "- Learning rate: 0.0005" in text
    assert not any(word in text for word in ("Beta", "Loss", "Pairs trained"))


def test_a_nan_is_no_agreement():
    fine = parity.Probe([np.zeros((2, 5), np.float32)], np.zeros((1, 3), np.int32))
    broken = parity.Probe([np.full((2, 5), np.nan, np.float32)], fine.greedy)
    assert parity.problems(parity.compare(fine, fine), "float32") == []
    assert len(parity.problems(parity.compare(fine, broken), "float32")) == 2


def test_comparison_of_known_distributions():
    a, b = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])
    found = parity.compare(parity.Probe([a], np.array([[1, 2]])), parity.Probe([b], np.array([[1, 3]])))
    assert found["kl"] == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3))
    assert found["max_logit_difference"] == pytest.approx(np.log(2))
    assert found["greedy_agreement"] == 0.5


def test_a_full_folder_is_never_written_over(tmp_path, make_hf):
    make_hf(tmp_path / "hf", "llama")
    with pytest.raises(UserError, match="exists already"):
        huggingface.from_hf(str(tmp_path / "hf"), tmp_path / "hf")
    with pytest.raises(UserError, match="no adapter"):
        huggingface.to_peft(str(tmp_path / "hf"), tmp_path / "adapter")
    assert not (tmp_path / "adapter.partial").exists()


def test_the_real_tokenizer_survives_the_export(tmp_path, smollm2):
    tokenizers.save(smollm2.tokenizer, None, tmp_path)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "I can't sleep.\n\n1. I count to 100.  2 × ½ 🙂<|im_end|>"
    assert again(text)["input_ids"] == smollm2.tokenizer(text)["input_ids"]
    assert again.chat_template == smollm2.tokenizer.chat_template and again.eos_token_id == 2
    written = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert written["chat_template"] == again.chat_template
    assert written["tokenizer_class"] == "PreTrainedTokenizerFast"  # the name that transformers 4 knows, too
