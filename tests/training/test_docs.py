"""What docs/training.md and docs/pods.md name exists: commands, flags, keys, policies, messages; code makes recipes."""

import re
import shlex
from pathlib import Path

import jax.numpy as jnp
import pytest

from configs.common import config, stage
from llumi_jax import train
from llumi_jax.cli import UserError
from llumi_jax.evaluation.preference import BRIEF
from llumi_jax.models import attention, partitioning
from llumi_jax.models.lora import LoraConfig
from llumi_jax.models.remat import REMAT_POLICIES
from llumi_jax.training import optimizer, provenance, recipe

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
PODS = (ROOT / "docs" / "pods.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, flags=re.DOTALL)
NAMES: dict = {}
for language, block in BLOCKS:
    if language == "python":
        exec(block, NAMES)


def made(**settings) -> recipe.Recipe:
    return recipe.from_config(config(stage("gm", "dpo", epochs=1.0), **settings).to_dict())


COMMANDS = re.findall(r"```bash\n(.*?)```", TEXT + PODS, flags=re.DOTALL)


@pytest.mark.parametrize("line", [line for code in COMMANDS for line in code.replace("\\\n", " ").splitlines()])
def test_commands_are_understood(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "llumi_jax.train"]
    overrides, others = train._split_overrides(words[3:])
    args = train.parser().parse_args(others)
    train._options(args)
    recipe.from_config(train.read_config(args.config, overrides))


def test_flags_and_keys_in_the_text_exist():
    keys = {*recipe.defaults(recipe.Recipe), *recipe.defaults(recipe.Stage), *recipe.defaults(LoraConfig)}
    known = {flag for action in train.parser()._actions for flag in action.option_strings}
    assert {flag for flag in re.findall(r"`(--\w+)[ `]", TEXT)} <= known
    overrides = re.findall(r"`(--config\.[^`]+)`", TEXT)
    assert overrides and train.read_config(str(ROOT / "configs" / "quickstart.py"), overrides)
    assert set(re.findall(r"`(\w+)=", TEXT)) <= keys
    with_underscore = {word for word in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", TEXT)}
    assert with_underscore <= keys | {*BRIEF} | {"data_wait", "clip_norm", "adapter_off"}


def test_remat_policies_and_looks_are_all_there():
    table = re.findall(r"^\| `(\w+)` \|", TEXT, flags=re.MULTILINE)
    assert table == ["remat", *REMAT_POLICIES]
    assert {*BRIEF} <= set(re.findall(r"`(\w+)`", TEXT))
    assert all(f"`{name}`" in TEXT for name in recipe.REFERENCES)
    table = re.findall(r"^\| `(\w+)` \|", PODS, flags=re.MULTILINE)
    assert table == [*partitioning.MESH_AXES, "remat", *REMAT_POLICIES, "attention", *attention.BACKENDS]
    known = {flag for action in train.parser()._actions for flag in action.option_strings}
    assert {flag for flag in re.findall(r"`(--(?!config)\w+)[ `]", PODS)} <= known


def test_its_code_makes_recipes():
    assert recipe.from_config(NAMES["get_config"]().to_dict()).stages == ("gm_sft", "gm_dpo", "gm_dpo2")
    assert made(**NAMES["before"]) and made(**NAMES["after"])
    looks = config(stage("gm", "dpo", epochs=1.0, **NAMES["looks"]))
    assert recipe.from_config(looks.to_dict()).stage["gm_dpo"].best_by == "held_out_margin"
    (mixture,) = re.findall(r"`pairs=(\(.*\))`", TEXT)
    assert len(made(pairs=eval(mixture)).pairs) == 2
    for text in re.findall(r"`(lora=dict\(.*?\)|base_quantization=\"\w+\"|mesh=dict\(.*?\))`", TEXT):
        assert eval(f"made({text})", {"made": made})
    assert made(lora=dict(rank=4, targets=("attention/.*",)))


def test_patterns_freeze_and_scale_what_it_says():
    tree = {"layers": {"attention": {"q": {"lora_a": jnp.ones(2), "lora_b": jnp.ones(2)}}}}
    tree["layers"]["mlp"] = {"up": {"lora_a": jnp.ones(2), "lora_b": jnp.ones(2)}}
    patterns = NAMES["per_pattern"]
    frozen = optimizer.frozen_leaves(patterns, tree)
    assert frozen["layers"]["attention"]["q"] == {"lora_a": False, "lora_b": True}
    chosen = optimizer.make_optimizer(NAMES["before"]["optimizer"], lambda step: 0.1, patterns, tree)
    updates, _ = chosen.update(tree, chosen.init(tree), tree)
    up = updates["layers"]["mlp"]["up"]
    # Adam's first step is the sign of the gradient; lora_a has decay 0.01, lora_b none and twice the rate.
    assert float(up["lora_b"][0]) == pytest.approx(-0.2, rel=1e-4)
    assert float(up["lora_a"][0]) == pytest.approx(-0.1 * 1.01, rel=1e-4)


def test_its_messages_are_those_that_are_given():
    (said,) = [code for kind, code in BLOCKS if kind == "text"]
    wrong = {**NAMES["after"]["optimizer"], "weight_deacy": 0.01}
    with pytest.raises(UserError) as found:
        made(optimizer=wrong)
    begin, end = said.strip().split("…")
    assert f"error: {found.value}".startswith(begin) and str(found.value).endswith(end)
    there, here = {"dtype": "float32"}, {"dtype": "bfloat16"}
    assert f"holds log-probabilities of another {provenance.difference(there, here)}." in TEXT
