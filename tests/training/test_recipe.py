"""A recipe is wrong at once and in one line, or right: nothing is loaded to find out."""

import dataclasses
import json

import pytest

from configs import quickstart
from llumi_jax.cli import UserError
from llumi_jax.training import recipe
from llumi_jax.training.recipe import Recipe, from_config


def stage(**changes) -> dict:
    return {"role": "gm", "objective": "dpo", "steps": 3, **changes}


def config(by_name: dict | None = None, **changes) -> dict:
    return {"stage": by_name or {"gm_dpo": stage()}, **changes}


def test_defaults_fill_in_what_is_left_out():
    made = from_config(config())
    assert made.stages == ("gm_dpo",) and made.stage["gm_dpo"].name == "gm_dpo"
    assert made.stage["gm_dpo"].beta == 0.1 and made.micro_rows == made.batch_rows
    assert recipe.defaults(Recipe)["batch_rows"] == made.batch_rows and "stages" not in recipe.defaults(Recipe)


def test_the_quickstart_is_a_recipe():
    made = from_config(quickstart.get_config().to_dict())
    assert made.stages == ("gm_sft", "gm_dpo", "im_sft", "im_dpo")


def test_the_resolved_config_is_json_and_gives_the_same_recipe():
    made = from_config(config(per_pattern=(("lora_b", {"scale": 2.0}), (".*", None)), schedule=None or [
        {"name": "constant_schedule", "value": 1e-4, "steps": 10}, {"name": "constant_schedule", "value": 1e-5},
    ]))  # fmt: skip
    again = json.loads(json.dumps(recipe.to_config(made)))
    assert recipe.to_config(from_config(again)) == again


# --- unknown keys --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_row": 2}, "unknown key config.batch_row. Did you mean 'batch_rows'"),
        ({"zzz": 2}, "unknown key config.zzz.$"),
        ({"stage": {"gm_dpo": stage(betta=1)}}, "unknown key config.stage.gm_dpo.betta. Did you mean 'beta'"),
        ({"stages": ("gm_dp",)}, "config.stages names 'gm_dp', which config.stage lacks. Did you mean 'gm_dpo'"),
        ({"lora": {"rnak": 4}}, "unknown key config.lora.rnak. Did you mean 'rank'"),
        ({"optimizer": {"name": "adamw", "nesterof": 1}}, "config.optimizer.nesterof is no argument .*'nesterov'"),
        ({"optimizer": {"name": "adamm"}}, "config.optimizer.name='adamm' is not in optax. Did you mean 'adam"),
        ({"schedule": {"name": "constant_schedule", "valeu": 1.0}}, "config.schedule.valeu is no argument.*'value'"),
        ({"schedule": {"name": "constant_scedule"}}, "config.schedule.name='constant_scedule'.*'constant_schedule'"),
        ({"mesh": {"data": -1, "fsdp": 1, "tensr": 1, "context": 1}}, "config.mesh needs the keys data, fsdp, tensor"),
    ],
)  # fmt: skip
def test_an_unknown_key_suggests_the_near_one(wrong, message):
    with pytest.raises(UserError, match=message) as error:
        from_config({**config(), **wrong})
    assert "\n" not in str(error.value)


# --- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "exactly one of steps, epochs and tokens"),
        ({"epochs": 1.0}, "exactly one of steps, epochs and tokens"),
        ({"steps": 0, "epochs": 1.0, "tokens": 5}, "exactly one of steps, epochs and tokens"),
        ({"steps": -1, "epochs": 1.0}, "exactly one of steps, epochs and tokens"),
        ({"role": "gn"}, "config.stage.gm_dpo.role='gn' is not one of gm, im"),
        ({"role": None}, "role"),
        ({"objective": "dpoo"}, "objective='dpoo' is not one of sft, dpo. Did you mean 'dpo'"),
        ({"reference": "cache"}, "reference='cache' is not one of cached.*Did you mean 'cached'"),
        ({"loss": "sigmoidal"}, "loss='sigmoidal' is not one of sigmoid, .*Did you mean 'sigmoid'"),
        ({"beta": 0.0}, "config.stage.gm_dpo.beta=0.0 must be above 0"),
        ({"beta": "high"}, "config.stage.gm_dpo.beta='high' must be a number"),
        ({"steps": True}, "config.stage.gm_dpo.steps=True must be a whole number"),
        ({"steps": 1.5}, "config.stage.gm_dpo.steps=1.5 must be a whole number"),
        ({"evaluate": 1}, "config.stage.gm_dpo.evaluate=1 must be True or False"),
        ({"evaluation_threads": -1}, "config.stage.gm_dpo.evaluation_threads=-1 must be at least 0"),
        ({"reference": "frozen", "reference_from": "w"}, "config.stage.gm_dpo.reference_from='w' needs .*'cached'"),
        ({"evaluate_every": -1}, "config.stage.gm_dpo.evaluate_every=-1 must be at least 0"),
        ({"sample_every": -2}, "config.stage.gm_dpo.sample_every=-2 must be at least 0"),
        ({"evaluate_on": 0}, "config.stage.gm_dpo.evaluate_on=0 must be at least 1"),
        ({"evaluate_every": 5, "best_by": "held_out_los"}, "best_by='held_out_los'.*Did you mean 'held_out_loss'"),
        ({"patience": 3}, "config.stage.gm_dpo.patience=3 needs best_by: one of held_out_loss"),
        ({"best_by": "held_out_loss"}, "config.stage.gm_dpo.best_by='held_out_loss' needs evaluate_every"),
        ({"evaluate_every": 5, "evaluate": False}, "config.stage.gm_dpo.evaluate_every=5 needs evaluate=True"),
        ({"name": "other"}, "config.stage.gm_dpo.name='other' must be 'gm_dpo'"),
    ],
)
def test_a_stages_values_are_checked(wrong, message):
    with pytest.raises(UserError, match=message):
        from_config(config({"gm_dpo": stage(**wrong)}))


@pytest.mark.parametrize("missing", ["role", "objective"])
def test_what_a_stage_must_say_is_asked_for(missing):
    settings = stage()
    del settings[missing]
    with pytest.raises(UserError, match=f"config.stage.gm_dpo.{missing} is missing"):
        from_config(config({"gm_dpo": settings}))


@pytest.mark.parametrize("length", [{"steps": 3}, {"steps": 0, "epochs": 0.5}, {"steps": 0, "tokens": 1000}])
def test_each_kind_of_length_is_enough(length):
    assert from_config(config({"gm_dpo": stage(**length)})).stage["gm_dpo"].steps == length["steps"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stage": {}}, "config.stages is empty"),
        ({"stage": ["gm_dpo"]}, "config.stage must map each stage's name"),
        ({"stages": ("gm_dpo", "gm_dpo")}, "config.stages names 'gm_dpo' twice"),
        ({"remat": "some"}, "config.remat='some' is not one of none, products, attention, full"),
        ({"attention": "flash"}, "config.attention='flash' is not one of auto, dense, block"),
        ({"attention": "block", "row_length": 1000}, "config.attention: .*multiple of 128"),
        ({"dtype": "float16"}, "config.dtype='float16' is not one of float32, bfloat16"),
        ({"param_dtype": "float"}, "config.param_dtype='float' is not one of.*Did you mean"),
        ({"roles": "gn"}, "config.roles='gn' is not one of gm, im"),
        ({"roles": "im"}, "config.roles and config.only leave no stage"),
        ({"only": "gm_dop"}, "config.only='gm_dop' is not one of gm_dpo. Did you mean 'gm_dpo'"),
        ({"row_length": 0}, "config.row_length=0 must be at least 1"),
        ({"batch_rows": 0}, "config.batch_rows=0 must be at least 1"),
        ({"batch_rows": 8.0}, "config.batch_rows=8.0 must be a whole number"),
        ({"max_prompt_tokens": -1}, "config.max_prompt_tokens=-1 must be at least 1"),
        ({"checkpoint_every": 0}, "config.checkpoint_every=0 must be at least 1"),
        ({"keep_checkpoints": 0}, "config.keep_checkpoints=0 must be at least 1"),
        ({"batch_rows": 8, "micro_batch_rows": 3}, "batch_rows=8 must be a multiple of config.micro_batch_rows=3"),
        ({"micro_batch_rows": -2}, "config.micro_batch_rows=-2 must be at least 0"),
        ({"max_prompt_tokens": 1024}, "max_prompt_tokens=1024 must be below config.row_length=1024"),
        ({"samples": -1}, "config.samples"),
        ({"samples": 0, "stage": {"s": stage(sample_every=2)}}, "config.stage.s.sample_every needs config.samples"),
        ({"drop_too_long": "yes"}, "config.drop_too_long='yes' must be True or False"),
        ({"base": 7}, "config.base=7 must be text"),
        ({"pairs": 7}, "config.pairs: dataset 7: give"),
        ({"replies": [("a:B/c", -1)]}, "config.replies: dataset .*a mixture"),
        ({"stage": {"s": stage(data=("a:B/c",))}}, "config.stage.s.data: dataset"),
        ({"lora": {"rank": 0}}, "config.lora: .*rank >= 1"),
        ({"lora": {"targets": ("q", "w")}}, "config.lora: .*targets among"),
        ({"lora": {"targets": ("attn/.*",)}}, "config.lora: lora: target 'attn/.\\*' matches nothing; .*attention/q"),
        ({"lora": {"targets": ("q(",)}}, "config.lora: lora: target 'q\\(' is no regular expression"),
        ({"base_quantization": "int4"}, "config.base_quantization='int4' is not one of int8"),
        ({"base_quantization": "int8", "lora": None}, "config.base_quantization='int8' needs config.lora"),
        ({"lora": 16}, "config.lora=16 must be a mapping"),
        ({"lora": None, "stage": {"s": stage(reference="adapter_off")}}, "reference='adapter_off' needs config.lora"),
        ({"mesh": {"data": 1.5, "fsdp": 1, "tensor": 1, "context": 1}}, "config.mesh.data=1.5 must be a whole number"),
        ({"optimizer": "adamw"}, "config.optimizer='adamw' must be a mapping"),
        ({"schedule": "constant"}, "config.schedule='constant' must be a mapping"),
        ({"schedule": []}, "config.schedule=.* must be a mapping"),
        ({"schedule": {"name": "constant_schedule"}}, "config.schedule: constant_schedule missing a required argument"),
        ({"per_pattern": "lora_b"}, "config.per_pattern takes pairs"),
        ({"per_pattern": (("lora_b", 2.0),)}, "config.per_pattern takes pairs"),
    ],
)  # fmt: skip
def test_values_are_checked(wrong, message):
    with pytest.raises(UserError, match=message) as error:
        from_config({**config(), **wrong})
    assert "\n" not in str(error.value)


# --- parts ---------------------------------------------------------------------------------------------------------

FOUR = {
    "gm_sft": stage(objective="sft"), "im_sft": stage(role="im", objective="sft"),
    "gm_dpo": stage(), "im_dpo": stage(role="im"),
}  # fmt: skip


def test_a_part_can_be_chosen():
    def names(**chosen):
        return [s.name for s in from_config(config(FOUR, **chosen)).selected()]

    assert names() == list(FOUR)
    assert names(roles="im") == ["im_sft", "im_dpo"]
    assert names(only="gm_dpo") == ["gm_dpo"]


def test_a_stage_follows_the_previous_one_of_its_role():
    made = from_config(config(FOUR))
    before = {name: made.predecessor(made.stage[name]) for name in FOUR}
    assert {name: s and s.name for name, s in before.items()} == {
        "gm_sft": None, "im_sft": None, "gm_dpo": "gm_sft", "im_dpo": "im_sft",
    }  # fmt: skip


def test_stages_orders_and_leaves_out():
    made = from_config(config(FOUR, stages=("gm_dpo", "gm_sft")))
    assert [s.name for s in made.selected()] == ["gm_dpo", "gm_sft"]
    assert made.predecessor(made.stage["gm_sft"]).name == "gm_dpo"


# --- another config ------------------------------------------------------------------------------------------------


def test_the_first_difference_is_named():
    def resolve(*stages, **changes):
        return recipe.to_config(from_config(config(*stages, **changes)))

    old = resolve()
    assert recipe.first_difference(old, resolve()) is None
    assert recipe.first_difference(old, resolve(batch_rows=4)) == "config.batch_rows (there 8, here 4)"
    assert recipe.first_difference(old, resolve({"gm_dpo": stage(beta=0.2)})) == (
        "config.stage.gm_dpo.beta (there 0.1, here 0.2)"
    )
    assert recipe.first_difference(old, resolve(lora=None)).startswith("config.lora (there {")
    assert "config.stage.im_dpo" in recipe.first_difference(
        old, resolve({"gm_dpo": stage(), "im_dpo": stage(role="im")})
    )


def test_choosing_a_part_is_no_difference():
    def resolve(**changes):
        return recipe.to_config(from_config(config(FOUR, **changes)))

    assert recipe.first_difference(resolve(), resolve(roles="gm", only="gm_dpo")) is None


def test_a_recipe_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        from_config(config()).seed = 1
