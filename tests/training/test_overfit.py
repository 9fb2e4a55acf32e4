"""The check by one batch passes where something can be learned, says so where not, and leaves nothing behind."""

from tests import tiny_run

train = tiny_run.train  # a fixture
FLAGS = ("--overfit_one_batch", "30", "--config.only=gm_dpo", "--config.checkpoint_every=1")


def test_a_stage_that_learns_its_first_batch_by_heart(train, tmp_path):
    """Although its predecessor was never run: it starts from the base then."""
    done = train.run(tmp_path / "work", *FLAGS, "--config.stage.gm_dpo.learning_rate=1e-2")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "loss of one batch" in line]
    assert line.startswith("gm_dpo: loss of one batch 0.6931 -> 0.") and "in 30 steps, reward accuracy 100%" in line
    assert not (tmp_path / "work").exists()


def test_a_stage_that_learns_nothing(train, tmp_path):
    done = train.run(tmp_path / "work", *FLAGS, "--config.stage.gm_dpo.learning_rate=1e-12")
    assert done.returncode == 1, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "0.6931 -> 0.6931 in 30 steps" in line and "learning rate" in line and "Traceback" not in done.stderr


def test_steps_that_make_no_sense(train, capsys, tmp_path):
    line = train.mistake(capsys, *train.arguments(tmp_path / "work", "--overfit_one_batch", "1"))
    assert "--overfit_one_batch 1" in line and "2 steps" in line
    line = train.mistake(capsys, *train.arguments(tmp_path / "work", "--hang_seconds", "-3"))
    assert "--hang_seconds -3" in line
    line = train.mistake(capsys, *train.arguments(tmp_path / "work", "--profile_steps", "5:2"))
    assert "--profile_steps 5:2" in line
