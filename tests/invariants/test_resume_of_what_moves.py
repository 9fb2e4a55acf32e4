"""A stage whose reference moves, whose weights are averaged and whose loss couples a batch resumes bit by bit too."""

import signal

from tests import tiny_run
from tests.tiny_run import STEPS, losses

train = tiny_run.train  # a fixture
FLAGS = (
    "--config.micro_batch_rows=2",
    "--config.stage.im_dpo.loss=kto",
    "--config.stage.im_dpo.soft_labels=False",
    "--config.stage.im_dpo.reference=frozen",
    "--config.stage.im_dpo.reference_sync_steps=4",
    "--config.stage.im_dpo.ema_decay=0.8",
)
STAGE = "im_dpo"


def test_killed_between_two_moves_of_the_reference(train, tmp_path):
    train = train.with_stages(tmp_path / "moving.py", f'stage("im", "dpo", steps={STEPS}, learning_rate=1e-3)')
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train.finish(whole, *FLAGS)
    logged = lambda: (log := broken / STAGE / "metrics.jsonl").exists() and log.read_bytes().count(b"\n") >= 5
    with train.watched(broken, logged, *FLAGS) as process:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=900)
    assert not (broken / STAGE / "done.json").exists()
    train.finish(broken, *FLAGS)
    assert tiny_run.digests(broken, [STAGE]) == tiny_run.digests(whole, [STAGE])
    assert losses(broken, STAGE) == losses(whole, STAGE) and len(losses(whole, STAGE)) == STEPS
    # KTO begins at (1 + 1) / 4, where policy and reference are equal, as they are again after each move.
    found = losses(whole, STAGE)
    assert all(abs(found[step] - 0.5) < 1e-6 for step in (1, 5, 9))
    assert all(abs(found[step] - 0.5) > 1e-5 for step in (4, 6, 8, 10))
