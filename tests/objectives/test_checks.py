"""Options of losses that do not go together are refused in one line that names them."""

import dataclasses
import re

import pytest

from configs.common import config, stage
from llumi_jax.cli import UserError
from llumi_jax.objectives import checks
from llumi_jax.objectives.options import PreferenceOptions
from llumi_jax.objectives.preference import LOSSES
from llumi_jax.training.recipe import Stage, from_config

HARD = dict(soft_labels=False)
NEEDED = {"exo_pair": dict(label_smoothing=1e-3)}  # beside the loss itself


def refused(**changes) -> str:
    with pytest.raises(UserError) as error:
        checks.check(PreferenceOptions(**changes), "config.stage.s")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_loss_can_be_had(loss):
    checks.check(PreferenceOptions(loss=loss, **HARD, **NEEDED.get(loss, {})), "config.stage.s")


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_soft_labels_are_taken_or_refused_by_name(loss):
    options = dict(loss=loss, **NEEDED.get(loss, {}))
    if LOSSES[loss].soft_labels or loss == "sft":
        checks.check(PreferenceOptions(**options), "config.stage.s")
    else:
        assert f"soft_labels=True: the loss '{loss}' takes no soft labels" in refused(**options)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(loss="sigmod"), "config.stage.s.loss='sigmod' is not one of sigmoid, hinge.*Did you mean 'sigmoid'"),
        (dict(loss="dpo"), "loss='dpo' is not one of"),
        (dict(loss={"sigmoid": 1, "sfd": 0.1}), "loss='sfd' is not one of.*Did you mean 'sft'"),
        (dict(loss={}), "loss={} must be a name, or names with weights"),
        (dict(loss=None), "loss=None must be a name"),
        (dict(loss=["sigmoid", "sft"]), "must be a name, or names with weights"),
        (dict(loss={"sigmoid": 0}), "loss.sigmoid=0 must be a number above 0"),
        (dict(loss={"sigmoid": "1"}), "loss.sigmoid='1' must be a number"),
        (dict(loss={"sigmoid": True}), "loss.sigmoid=True must be a number"),
        (dict(beta=0.0), "beta=0.0 must be above 0"),
        (dict(beta=float("nan")), "beta=nan must be above 0"),
        (dict(label_smoothing=0.5, **HARD), "label_smoothing=0.5 must be at least 0 and below 0.5"),
        (dict(label_smoothing=0.1), "label_smoothing=0.1 is one label for all pairs, and soft_labels=True"),
        (dict(loss="exo_pair"), "label_smoothing=0: the loss 'exo_pair' is infinite"),
        (dict(loss="hinge", label_smoothing=0.1, **HARD), "label_smoothing=0.1 does not go with the loss 'hinge'"),
        (dict(f_divergence="revers_kl"), "f_divergence='revers_kl' is not one of .*Did you mean 'reverse_kl'"),
        (
            dict(f_divergence="js", loss="kto", **HARD),
            "f_divergence='js' does not go with the loss 'kto'; it is for sig",
        ),
        (dict(f_divergence="js", loss={"sigmoid": 1, "nca_pair": 1}), "does not go with the loss 'nca_pair'"),
        (dict(f_divergence="js", loss="sft"), "f_divergence='js' does not go with the loss 'sft'"),
        (dict(f_alpha=0.3), "f_alpha=0.3 is read with f_divergence='alpha' alone"),
        (dict(f_alpha=0.3, f_divergence="js"), "f_alpha=0.3 is read with f_divergence='alpha' alone"),
        (dict(f_alpha=1.0, f_divergence="alpha"), "f_alpha=1.0 must be between 0 and 1"),
        (dict(ld_alpha=1.5), "ld_alpha=1.5 must be from 0 to 1"),
        (dict(ld_alpha=0.5, loss="simpo", **HARD), "ld_alpha=0.5 does not go with the loss 'simpo'"),
        (dict(ld_alpha=0.5, loss="sigmoid_norm"), "ld_alpha=0.5 does not go with the loss 'sigmoid_norm'"),
        (dict(rdpo_alpha=-0.1), "rdpo_alpha=-0.1 must be at least 0"),
        (dict(rdpo_alpha=0.1, loss="ipo"), "rdpo_alpha=0.1 does not go with the loss 'ipo'"),
        (dict(wpo=True, loss="aot", **HARD), "wpo=True does not go with the loss 'aot'"),
        (dict(simpo_gamma=1.0), "simpo_gamma=1.0 does not go with the loss 'sigmoid'; it is for simpo"),
        (dict(simpo_gamma=-1.0), "simpo_gamma=-1.0 must be at least 0"),
        (dict(cpo_alpha=0.5), "cpo_alpha=0.5 does not go with the loss 'sigmoid'; it is for cpo"),
        (dict(discopop_tau=0.0), "discopop_tau=0.0 must be above 0"),
        (dict(desirable_weight=2.0), "desirable_weight=2.0 does not go with the loss 'sigmoid'; it is for kto"),
        (dict(undesirable_weight=0.0, loss="kto", **HARD), "undesirable_weight=0.0 must be above 0"),
    ],
)
def test_what_does_not_go_together_is_refused(wrong, message):
    assert re.search(message, refused(**wrong))


@pytest.mark.parametrize(
    "fine",
    [
        dict(loss={"sigmoid": 1.0, "sft": 0.1}),
        dict(loss={"sigmoid": 1.0, "sft": 0.1}, f_divergence="alpha", f_alpha=0.2, rdpo_alpha=0.01, wpo=True),
        dict(loss={"sigmoid": 1, "simpo": 2}, simpo_gamma=1.0, **HARD),
        dict(loss="exo_pair", label_smoothing=0.01, ld_alpha=0.5),
        dict(loss={"robust": 1.0, "kto": 1.0}, label_smoothing=0.1, desirable_weight=2.0, **HARD),
    ],
)
def test_what_goes_together_is_taken(fine):
    checks.check(PreferenceOptions(**fine), "config.stage.s")


# --- in a recipe ---------------------------------------------------------------------------------------------------


def recipe(**changes):
    return from_config({"stage": {"s": {"role": "gm", "objective": "dpo", "steps": 3, **changes}}}).stage["s"]


def test_a_stage_has_every_option_and_its_default():
    made = recipe()
    assert isinstance(made, PreferenceOptions) and isinstance(made, Stage)
    assert {f.name: getattr(made, f.name) for f in dataclasses.fields(PreferenceOptions)} == dataclasses.asdict(
        PreferenceOptions()
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(loss="hinge"), "config.stage.s.soft_labels=True: the loss 'hinge' takes no soft labels"),
        (dict(wpo=1), "config.stage.s.wpo=1 must be True or False"),
        (dict(ld_alpha=0.5), "reference='cached' holds those of whole replies. Set reference='frozen'"),
        (dict(simpo_gama=0.5), "unknown key config.stage.s.simpo_gama. Did you mean 'simpo_gamma'"),
        (dict(lable_smoothing=0.5), "unknown key config.stage.s.lable_smoothing. Did you mean 'label_smoothing'"),
        (dict(objective="sft", wpo=True), "config.stage.s.wpo is read by stages with objective='dpo' alone"),
        (dict(objective="sft", entropy=True), "config.stage.s.entropy is read by stages with objective='dpo' alone"),
    ],
)
def test_a_recipe_is_checked(wrong, message):
    with pytest.raises(UserError, match=message):
        recipe(**wrong)


def test_a_sum_of_losses_is_a_recipe():
    made = recipe(loss={"sigmoid": 1.0, "sft": 0.1}, ld_alpha=0.5, reference="frozen")
    assert made.losses == {"sigmoid": 1.0, "sft": 0.1} and recipe(loss="ipo").losses == {"ipo": 1.0}


def test_a_sum_of_losses_passes_through_a_config_file():
    made = config(stage("gm", "dpo", steps=1, loss={"sigmoid": 1.0, "sft": 0.1}))
    made.stage.gm_dpo.loss.sft = 0.3  # as a flag sets it
    assert from_config(made.to_dict()).stage["gm_dpo"].losses == {"sigmoid": 1.0, "sft": 0.3}
