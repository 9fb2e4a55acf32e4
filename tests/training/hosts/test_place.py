"""How a process knows whether it has company, from flags and from what schedulers leave in the environment."""

import pytest

from llumi_jax.cli import UserError
from llumi_jax.training.hosts import place
from llumi_jax.training.hosts.place import Place

SLURM = {
    "SLURM_JOB_ID": "4711", "SLURM_STEP_NODELIST": "node[003-004]", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_PROCID": "1", "SLURM_LOCALID": "0",
}  # fmt: skip
MPI = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}  # fmt: skip


@pytest.fixture
def environment(monkeypatch):
    """Sets variables, which JAX reads by itself, and returns them."""

    def make(variables: dict[str, str]) -> dict[str, str]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return variables

    return make


def test_slurm_names_the_first_node_and_the_task(environment):
    found = place.find(None, None, None, environment(SLURM))
    assert found == Place("SLURM", "slurm", f"node003:{4711 % 4096 + 61440}", 2, 1)


def test_a_port_of_ones_own(environment):
    found = place.find(None, None, None, environment({**SLURM, "JAX_COORDINATOR_PORT": "1234"}))
    assert found is not None and found.coordinator == "node003:1234"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4"},  # a batch script: srun starts the tasks
        {**SLURM, "SLURM_STEP_NUM_TASKS": "1"},  # a shell on a login node, inside an allocation of two tasks
        {**SLURM, "SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"},
        {"OMPI_COMM_WORLD_SIZE": "1"},
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},  # a pod that belongs to no job
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"},
    ],
)
def test_alone(variables):
    assert place.find(None, None, None, variables) is None


def test_one_process_is_alone_wherever_it_runs():
    assert place.find(None, 1, None, SLURM) is None


def test_open_mpi(environment):
    found = place.find(None, None, None, environment(MPI))
    assert found is not None and (found.processes, found.process_id) == (4, 3)
    assert found.coordinator.startswith("10.96.0.1:") and found.method == "ompi"


def test_flags_need_no_scheduler_and_take_ranks_from_one():
    assert place.find("a:1", 2, 0, {}) == Place("flags", "deactivate", "a:1", 2, 0)
    newer = {name: value for name, value in MPI.items() if "COMM_WORLD" in name}
    assert place.find("a:1", None, None, newer) == Place("flags", "deactivate", "a:1", 4, 3)


@pytest.mark.parametrize(
    ("flags", "variables", "said"),
    [
        (("a:1", None, None), {}, "--process_id"),
        ((None, 2, 0), {}, "--coordinator HOST:PORT"),
        (("a", 2, 0), {}, "--coordinator a"),
        (("a:1", 2, 2), {}, "--process_id 2 must be from 0 to 1"),
        ((None, None, None), {"OMPI_COMM_WORLD_SIZE": "2"}, "--coordinator"),
        ((None, None, None), {"KUBERNETES_SERVICE_HOST": "x", "JOB_COMPLETION_INDEX": "1"}, "kubernetes"),
    ],
)
def test_what_is_missing_is_said(flags, variables, said):
    with pytest.raises(UserError, match=said):
        place.find(*flags, variables)


def test_hosts_of_a_tpu_slice(environment, monkeypatch):
    from jax._src.clusters import cloud_tpu_cluster

    monkeypatch.setattr(cloud_tpu_cluster, "running_in_cloud_tpu_vm", True)  # what a TPU host's own library says
    variables = {
        "TPU_LIBRARY_PATH": "/lib/libtpu.so", "TPU_WORKER_HOSTNAMES": "localhost,other", "TPU_WORKER_ID": "1",
        "MEGASCALE_NUM_SLICES": "1", "MEGASCALE_SLICE_ID": "0", "MEGASCALE_COORDINATOR_ADDRESS": "localhost",
    }  # fmt: skip
    found = place.find(None, None, None, environment(variables))
    assert found == Place("Cloud TPU", "gketpu", "localhost:8482", 2, 1)
