"""The launch recipes: their own tools accept them, their train commands are understood, and the scripts run."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from llumi_jax import train as command
from tests import tiny_run

train = tiny_run.train  # a fixture
FOLDER = tiny_run.ROOT / "configs" / "launch"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
JOBSETS = sorted(FOLDER.glob("*.yaml"))
# `python` is the one that runs the tests.
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
# `man sbatch`, of those that recipes may need.
SBATCH = {
    "job-name": r"[\w.-]+", "nodes": r"\d+(-\d+)?", "gpus-per-node": r"(\w+:)?\d+", "ntasks-per-node": r"\d+",
    "cpus-per-task": r"\d+", "exclusive": None, "time": r"(\d+-)?\d\d:\d\d:\d\d", "requeue": None,
    "open-mode": "append|truncate", "output": r"[\w%.-]+",
}  # fmt: skip
# The JobSet API, jobset.x-k8s.io/v1alpha2: fields that recipes may use; the Job template in it has a schema of its own.
JOBSET = {
    "": {"apiVersion", "kind", "metadata", "spec"},
    "spec": {"replicatedJobs", "network", "successPolicy", "failurePolicy", "startupPolicy", "suspend", "coordinator"},
    "network": {"enableDNSHostnames", "subdomain", "publishNotReadyAddresses"},
    "failurePolicy": {"maxRestarts", "restartStrategy", "rules"},
    "replicatedJobs": {"name", "replicas", "template", "groupName", "dependsOn"},
}


def test_shells_find_nothing_wrong():
    assert len(SCRIPTS) == 3
    found = subprocess.run(["shellcheck", *SCRIPTS], capture_output=True, text=True, env={"PATH": PATH})
    assert found.returncode == 0, found.stdout
    assert all(os.access(path, os.X_OK) for path in SCRIPTS)


def test_sbatch_knows_the_options():
    lines = re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", (FOLDER / "slurm.sh").read_text(), flags=re.MULTILINE)
    assert len(lines) == (FOLDER / "slurm.sh").read_text().count("\n#SBATCH ")
    for name, value in lines:
        form = SBATCH[name]
        assert value == "" if form is None else re.fullmatch(form, value), name


@pytest.mark.parametrize("path", JOBSETS, ids=lambda path: path.stem)
def test_jobsets_are_valid(path):
    given = yaml.safe_load(path.read_text())
    assert (given["apiVersion"], given["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    spec = given["spec"]
    parts = {key: spec[key] for key in ("network", "failurePolicy") if key in spec}
    for name, part in {"": given, "spec": spec, **parts}.items():
        assert {*part} <= JOBSET[name]
    for job in spec["replicatedJobs"]:
        assert {*job} <= JOBSET["replicatedJobs"]
        whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job["name"]}, **job["template"]}
        kubernetes_validate.validate(whole, kubernetes_validate.latest_version(), strict=True)
        pods = job["template"]["spec"]
        assert pods["parallelism"] == pods["completions"] and pods["backoffLimit"] == 0
        assert spec["failurePolicy"]["maxRestarts"] >= 10  # a late or lost host must not end it for good


@pytest.mark.parametrize("path", JOBSETS, ids=lambda path: path.stem)
def test_what_pods_run_is_understood(path):
    (job,) = yaml.safe_load(path.read_text())["spec"]["replicatedJobs"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "llumi_jax.train"]
    args = command.parser().parse_args([word.replace("$(INDEX)", "1") for word in container["args"]])
    assert args.join_seconds >= 900 and (tiny_run.ROOT / args.config).exists()
    if args.processes:
        assert args.processes == job["template"]["spec"]["parallelism"]
        name, port = args.coordinator.split(":")
        assert name == f"llumi-{job['name']}-0-0.llumi" and {"containerPort": int(port)} in container["ports"]
    platforms = {entry["name"]: entry.get("value") for entry in container["env"]}["JAX_PLATFORMS"]
    assert platforms in ("tpu,cpu", "cuda,cpu")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_says_what_it_misses(path):
    bare = {"PATH": os.environ["PATH"]}
    found = subprocess.run([path], capture_output=True, text=True, env=bare)
    assert found.returncode == 1 and re.search(r"(CONFIG|PROJECT): the ", found.stderr), found.stderr


def test_one_node_trains(train, tmp_path):
    """The script as it is, on virtual devices instead of GPUs."""
    stage = train.with_stages(tmp_path / "one.py", 'stage("gm", "sft", steps=2, evaluate=False)')
    found = run(FOLDER / "node.sh", stage, tmp_path / "work")
    assert found.returncode == 0, found.stderr
    assert json.loads((tmp_path / "work/gm_sft/done.json").read_text())["steps"] == 2


def test_a_job_at_its_limit_is_queued_again(train, tmp_path):
    """The batch script between stand-ins of srun (which runs one task) and scontrol (which says what it was told)."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, body in {"srun": 'shift; exec "$@"', "scontrol": 'echo "told: $*"'}.items():
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)
    stage = train.with_stages(tmp_path / "long.py", 'stage("gm", "sft", steps=400, evaluate=False)')
    found = run(
        FOLDER / "slurm.sh", stage, tmp_path / "work", SLURM_JOB_ID="17",
        PATH=f"{tools}:{PATH}", SLURM_JOB_END_TIME=str(int(time.time()) + 61 + 15),
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "Stopped on" in found.stdout and "told: requeue 17" in found.stdout


def run(script: Path, stage, work: Path, **more: str) -> subprocess.CompletedProcess:
    environment = {**stage.environment, "CONFIG": str(stage.config), "WORKDIR": str(work), "PATH": PATH}
    environment |= {"JAX_PLATFORMS": "cpu", **more}
    words = [str(script), "--data_dir", str(stage.data)]
    return subprocess.run(words, cwd=tiny_run.ROOT, env=environment, capture_output=True, text=True, timeout=600)


def test_sbatch_line_of_the_train_command_is_understood():
    text = (FOLDER / "slurm.sh").read_text()
    (line,) = re.findall(r"python -m llumi_jax\.train (.*?) \|", text)
    words = [word for word in shlex.split(line) if not word.startswith(("${limit", "$@"))]
    assert command.parser().parse_args(words).join_seconds == 900
