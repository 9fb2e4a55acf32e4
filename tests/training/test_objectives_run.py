"""The train command with other losses than DPO's: what a run computes, logs and leaves out."""

import math

from tests import tiny_run
from tests.tiny_run import STEPS

train = tiny_run.train  # a fixture


def test_losses_by_flag(train, tmp_path):
    stages = [f'stage("{role}", "dpo", steps={STEPS}, learning_rate=1e-3)' for role in ("gm", "im")]
    work = train.with_stages(tmp_path / "preferences.py", *stages).finish(
        tmp_path / "work",
        "--config.stage.gm_dpo.loss=simpo",
        "--config.stage.gm_dpo.beta=2.0",
        "--config.stage.gm_dpo.soft_labels=False",
        "--config.stage.im_dpo.loss=aot",
        "--config.stage.im_dpo.soft_labels=False",
        "--config.stage.im_dpo.entropy=True",
        "--config.micro_batch_rows=2",
    )
    simpo, aot = (tiny_run.metrics(work, stage) for stage in ("gm_dpo", "im_dpo"))
    assert len(simpo) == len(aot) == STEPS
    # No reference is swept over where none is needed, and none is compared with.
    assert not (work / "gm_dpo" / "reference" / "reference.npy").exists() and "kl" not in simpo[0]
    assert (work / "im_dpo" / "reference" / "reference.npy").exists() and abs(aot[0]["kl"]) < 1e-4
    assert math.isclose(aot[0]["loss"], math.log(2), rel_tol=1e-4)
    assert all(0 < line["entropy"] < math.log(1000) for line in aot) and "entropy" not in simpo[0]
    assert all(line["length_chosen"] > 1 and line["logp_chosen"] < 0 for line in simpo + aot)
    # Rewards without a reference are log-probabilities a token.
    assert math.isclose(
        simpo[0]["reward_margin"], simpo[0]["reward_chosen"] - simpo[0]["reward_rejected"], rel_tol=1e-4
    )
