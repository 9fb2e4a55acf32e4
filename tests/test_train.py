"""`python -m llumi_jax.train`: what it says to mistakes, to a full disk and to numbers that blow up."""

import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from llumi_jax.models import lora
from llumi_jax.models.config import DecoderConfig
from llumi_jax.storage import checkpoints
from tests import tiny_run

train, uninterrupted = tiny_run.train, tiny_run.uninterrupted  # fixtures
EIGHT = "--config.batch_rows=8"  # a row for each of the eight devices of a test's own process


@pytest.fixture
def mistake(train, capsys, tmp_path):
    """mistake(*flags) runs the command with them in a new work directory and returns its one line."""
    return lambda *flags: train.mistake(capsys, *train.arguments(tmp_path / "work", EIGHT, *flags))


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--config.batch_row=4", ["config.batch_row", "Did you mean 'batch_rows'"]),
        ("--config.stage.gm_dpo.betta=1", ["config.stage.gm_dpo.betta", "Did you mean 'stage.gm_dpo.beta'"]),
        ("--config.batch_rows=four", ["--config.batch_rows=four", "kind"]),
        ("--config.stage.gm_dpo.beta=strong", ["--config.stage.gm_dpo.beta=strong"]),
        ("--config.stage.gm_dpo.beta=-1", ["config.stage.gm_dpo.beta=-1", "above 0"]),
        ("--config.drop_too_long=perhaps", ["--config.drop_too_long=perhaps", "kind"]),
        ("--config.stage.gm_dpo.loss=sigmoyd", ["config.stage.gm_dpo.loss", "Did you mean 'sigmoid'"]),
        ("--config.stage.gm_sft.epochs=1", ["config.stage.gm_sft", "exactly one of steps, epochs and tokens"]),
        ("--config.optimizer.name=adamww", ["config.optimizer.name", "Did you mean 'adamw'"]),
        ("--config.optimizer.weight_decay=x", ["config.optimizer.weight_decay"]),
        ("--config.lora.rank=0", ["config.lora", "rank"]),
        ("--config.only=gm_dop", ["config.only", "Did you mean 'gm_dpo'"]),
        ("--config.mesh.context=4", ["config.row_length=256", "config.mesh.context=4", "multiple of 512"]),
        ("--config.mesh.tensor=3", ["config.mesh", "8 devices"]),
        ("--config.batch_rows=12", ["config.batch_rows", "8"]),
        ("--config.micro_batch_rows=3", ["config.batch_rows=8", "config.micro_batch_rows=3"]),
        ("--config.row_length=64", ["config.max_prompt_tokens=200", "config.row_length=64"]),
        ("--config.base=nowhere/at/all", ["no model at 'nowhere/at/all'"]),
        ("--config.replies=data_pipelines.llumi_pairs:LlumiPairs/tyni_replies", ["tyni_replies", "'tiny_replies'"]),
        ("--config.replies=data_pipelines.nothing:LlumiPairs/x", ["data_pipelines.nothing"]),
        ("--config.replies=data_pipelines.llumi_pairs:LlumiPair/x", ["Did you mean 'LlumiPairs'"]),
        ("--config.replies=sample", ["package.module:Builder/config"]),
        ("--config.replies=data_pipelines.llumi_pairs:LlumiPairs/tiny_pairs", ["tiny_pairs", "'reply_id'", "replies"]),
        ("--config.only=gm_dpo", ["gm_dpo starts from gm_sft", "first"]),
    ],
)
def test_a_wrong_value_is_named_in_one_line(mistake, flag, words):
    line = mistake(flag)
    assert all(word in line for word in words), line


HEAD = "from configs.common import config, stage\ndef get_config():\n    return config(stage('gm', 'sft', steps=1), "


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{HEAD}batch_row=4)", ["config.batch_row", "Did you mean 'batch_rows'"]),
        (f"{HEAD}batch_rows='8')", ["config.batch_rows='8'", "whole number"]),
        (f"{HEAD}lora=dict(rnk=4))", ["config.lora.rnk", "Did you mean 'rank'"]),
        (f"{HEAD}schedule='cosine')", ["config.schedule='cosine'"]),
        (f"{HEAD}mesh=dict(data=1))", ["config.mesh", "fsdp"]),
        (f"{HEAD}attention='block', row_length=1000)", ["config.attention", "128"]),
        ("def get_config(:\n", ["SyntaxError", "line 1"]),
        ("import no_such_module\n", ["line 1", "no_such_module"]),
        ("\n\ndef get_config():\n    return 1 / 0\n", ["line 4", "division by zero"]),
        ("x = 1\n", ["get_config()"]),
    ],
)
def test_a_wrong_config_file_is_named_in_one_line(train, capsys, tmp_path, text, words):
    config = tmp_path / "recipe.py"
    config.write_text(text)
    line = train.mistake(capsys, "--config", str(config), "--workdir", str(tmp_path / "work"))
    assert all(word in line for word in words), line
    assert not (tmp_path / "work").exists()


def test_a_missing_config_file_suggests_the_near_one(train, capsys, tmp_path):
    line = train.mistake(capsys, "--config", "configs/quickstrat.py", "--workdir", str(tmp_path))
    assert "configs/quickstrat.py" in line and "Did you mean 'configs/quickstart.py'" in line


def test_a_base_of_another_architecture(mistake, tmp_path):
    folder = tmp_path / "gpt2"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}))
    line = mistake(f"--config.base={folder}")
    assert "GPT2LMHeadModel" in line and "LlamaForCausalLM" in line


def test_datasets_that_cannot_be_trained_on(mistake, train):
    tiny_run.save_dataset(train.data, "gmonly", threads=2, roles=("gm",))
    tiny_run.save_dataset(train.data, "long", threads=2, roles=("gm",), words=300)
    spec = lambda name, kind: tiny_run.DATASET.replace("tiny", f"{name}_{kind}")
    of = lambda name: [f"--config.{kind}={spec(name, kind)}" for kind in ("pairs", "replies")]
    line = mistake(*of("gmonly"), "--config.roles=im")
    assert "im_sft: the dataset has no replies for role 'im'" in line and "data_pipelines.build" in line
    line = mistake(*of("long"), "--config.only=gm_sft")
    assert "a row has 256" in line and "config.row_length" in line and "train-gm-" in line


def test_a_work_directory_of_another_config_is_left_alone(train, uninterrupted, tmp_path, capsys):
    work = tmp_path / "work"
    shutil.copytree(uninterrupted, work)
    before = (work / "config.json").read_bytes()
    line = train.mistake(capsys, *train.arguments(work, "--config.samples=1", "--config.stage.gm_dpo.beta=0.3"))
    assert "config.stage.gm_dpo.beta (there 0.1, here 0.3)" in line and "--workdir" in line
    assert (work / "config.json").read_bytes() == before
    assert tiny_run.digests(work) == tiny_run.digests(uninterrupted)


def test_a_mistake_before_the_first_stage_can_be_mended_in_the_same_work_directory(train, mistake):
    assert "config.mesh" in mistake("--config.mesh.tensor=3")
    assert "no model at" in mistake("--config.base=nowhere/at/all")


def test_a_place_that_cannot_be_written_to(train, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    for work in (tmp_path / "file", tmp_path / "file" / "below"):
        assert str(work) in train.mistake(capsys, *train.arguments(work, EIGHT))


_DISK = """
set -e
mount -t tmpfs -o size={size} none {work}
set +e
"$@"; echo "code $?"
mount -o remount,ro {work}
"$@"; echo "code $?"
mount -o remount,rw,size=64m {work}
"$@"; echo "code $?"
cp -r {work} {copy}
"""


def test_a_full_disk_and_a_read_only_one_lose_nothing(train, uninterrupted, tmp_path):
    """Three runs on a small disk: it runs full, it cannot be written, it has room again."""
    small = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*small, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let a user mount a disk of his own")
    work, copy = tmp_path / "work", tmp_path / "copy"
    work.mkdir()
    command = [sys.executable, "-m", "llumi_jax.train", *train.arguments(work, "--config.roles=gm")]
    script = _DISK.format(size="600k", work=work, copy=copy)
    done = subprocess.run(
        [*small, "sh", "-c", script, "sh", *command],
        cwd=tiny_run.ROOT, env=train.environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    codes = [line for line in done.stdout.splitlines() if line.startswith("code")]
    assert codes == ["code 2", "code 2", "code 0"], done
    assert "Traceback" not in done.stderr, done.stderr
    full, read_only = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "no space left on the disk" in full and "same command again" in full
    assert str(work) in read_only and "ead-only" in read_only
    expected, found = tiny_run.digests(uninterrupted), tiny_run.digests(copy, ("gm_sft", "gm_dpo"))
    assert found == {stage: expected[stage] for stage in found}


def test_a_loss_that_is_no_number_stops_the_run_and_saves_it(train, tmp_path):
    work = tmp_path / "work"
    done = train.run(work, "--config.only=gm_sft", "--config.stage.gm_sft.learning_rate=1e30")
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    logged = tiny_run.metrics(work, "gm_sft")
    first = next(logged_line["step"] for logged_line in logged if logged_line["loss"] is None)
    assert f"at step {first}" in line and "train-gm-" in line and first > 1
    about = json.loads((work / "gm_sft" / "model.json").read_text())
    shapes = lora.abstract(lora.LoraConfig.from_dict(about["lora"]), DecoderConfig.from_dict(about["decoder"]))
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    onto = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), shapes)
    saved = checkpoints.restore_params(work / "gm_sft" / "checkpoints", onto)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(saved))


@pytest.mark.parametrize("role", ["gm", "im"])
def test_recipes_for_a_pod_are_valid(role):
    from llumi_jax import train as command
    from llumi_jax.training import recipe

    found = recipe.from_config(command.read_config(f"configs/{role}_mistral_7b.py", ["--config.mesh.fsdp=8"]))
    assert found.stages == (f"{role}_sft", f"{role}_dpo", f"{role}_dpo2")
    assert found.base == "mistralai/Mistral-7B-Instruct-v0.2" and found.dtype == "bfloat16"
    assert found.stage[f"{role}_dpo2"].data.endswith("/ratings_pairs")
