"""A researcher's change: from AdamW with a cosine to Muon with warm-up, plateau and decay, by two lines of a config."""

import difflib

import jax
import numpy as np
import pytest

from llumi_jax import train as command
from llumi_jax.cli import UserError
from llumi_jax.models import lora
from llumi_jax.models.config import DecoderConfig
from llumi_jax.storage import checkpoints, files
from llumi_jax.training import recipe
from tests import tiny_run

train = tiny_run.train  # a fixture
STEPS = 10
_STAGE = f'stage("gm", "sft", steps={STEPS}, evaluate=False)'
_BEFORE = """\
        optimizer=dict(name="adamw", weight_decay=0.01, clip_norm=1.0),
        schedule=dict(name="warmup_cosine_decay_schedule", peak_value=1e-3, warmup_steps=0.2),
"""
_AFTER = """\
        optimizer=dict(name="contrib.muon", weight_decay=0.01, clip_norm=1.0),
        schedule=[dict(name="warmup_constant_schedule", peak_value=0.02, warmup_steps=2, steps=0.7), dict(name="linear_schedule", init_value=0.02, end_value=0.0)],
"""  # noqa: E501


def with_lines(train, path, lines: str):
    made = train.with_stages(path, _STAGE)
    text = path.read_text()
    end = text.rindex("    )")
    path.write_text(text[:end] + lines + text[end:])
    return made


@pytest.fixture(scope="module")
def swapped(train, tmp_path_factory):
    """A run after the swap, with everything but the factors A frozen."""
    folder = tmp_path_factory.mktemp("swapped")
    with_lines(train, folder / "before.py", _BEFORE)
    made = with_lines(train, folder / "after.py", _AFTER)
    before, after = ((folder / name).read_text().splitlines() for name in ("before.py", "after.py"))
    changed = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    assert len(changed) == 4, "two lines went, two came"
    config = made.config.read_text()
    made.config.write_text(config.replace("base=", 'per_pattern=(("lora_b", None), (".*", {})),\n        base=', 1))
    return made.finish(folder / "work")


def test_it_runs_and_follows_its_schedule(swapped):
    logged = tiny_run.metrics(swapped, "gm_sft")
    # By hand: two steps of warm-up to 0.02, level until step 7, then a line down to 0 at step 10.
    expected = [0.0, 0.01, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.04 / 3, 0.02 / 3]
    np.testing.assert_allclose([line["learning_rate"] for line in logged], expected, atol=1e-8)
    assert logged[-1]["loss"] < logged[0]["loss"] - 0.1


def test_a_frozen_pattern_is_bit_equal_at_the_end(swapped):
    about = files.read_json(swapped / "gm_sft" / "model.json")
    settings, config = lora.LoraConfig.from_dict(about["lora"]), DecoderConfig.from_dict(about["decoder"])
    start = jax.jit(lambda key: lora.init(key, settings, config))(jax.random.key(0))
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), start)
    end = checkpoints.restore_params(swapped / "gm_sft" / "checkpoints", shapes)
    leaves = zip(jax.tree_util.tree_leaves_with_path(start), jax.tree.leaves(end), strict=True)
    for (path, before), after in leaves:
        is_equal = np.asarray(before).tobytes() == np.asarray(after).tobytes()
        assert is_equal == (path[-1].key == "lora_b"), path


def test_a_schedule_longer_than_its_stage_and_an_uncovered_parameter(train, tmp_path, capsys):
    made = with_lines(train, tmp_path / "long.py", _AFTER.replace("steps=0.7", "steps=70"))
    line = made.mistake(capsys, *made.arguments(tmp_path / "a", "--config.batch_rows=8"))
    assert "config.schedule: its parts take 70 steps and more, the stage has 10" in line
    made = with_lines(train, tmp_path / "part.py", _BEFORE + '        per_pattern=(("lora_b", None),),\n')
    line = made.mistake(capsys, *made.arguments(tmp_path / "b", "--config.batch_rows=8"))
    assert "config.per_pattern covers no parameter 'layers/attention/k/lora_a'. Add ('.*'" in line


def test_a_misspelt_argument_is_answered_with_the_signature(train, tmp_path):
    made = with_lines(train, tmp_path / "wrong.py", _AFTER.replace("weight_decay", "weight_deacy"))
    with pytest.raises(
        UserError, match=r"config.optimizer.weight_deacy is no argument of muon\(learning_rate, ns_coef.*"
    ):
        recipe.from_config(command.read_config(str(made.config), []))
