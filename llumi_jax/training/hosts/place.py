"""Where a process stands among those of its run: by flags, or by what the scheduler left in the environment."""

import dataclasses
import importlib.util
import re
from collections.abc import Mapping

from llumi_jax.cli import UserError

JOIN_SECONDS = 300.0
HEARTBEAT_SECONDS = 30.0

# The scheduler's variables for (how many processes, which of them), by the name that people know it by.
_RANKS = {
    "SLURM": ("SLURM_NTASKS", "SLURM_PROCID"),
    "Open MPI": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
}


@dataclasses.dataclass(frozen=True)
class Place:
    """One of several processes of a run.

    how: who said so, for people. method: JAX's name for that way to find the others ("deactivate": it is told).
    coordinator: HOST:PORT of process 0.
    """

    how: str
    method: str
    coordinator: str
    processes: int
    process_id: int


def find(
    coordinator: str | None,
    processes: int | None,
    process_id: int | None,
    environment: Mapping[str, str],
    seconds: float = JOIN_SECONDS,
) -> Place | None:
    """The process's place by its flags, else by its environment; None where it is alone.

    Args:
      coordinator, processes, process_id: the flags, None where not given.
      environment: os.environ, which JAX reads beside it.
      seconds: how long a name of process 0 that is not known yet is asked for.

    Raises:
      UserError: the flags contradict each other, or the environment says that there are others, but not where.
    """
    if processes == 1:
        return None
    if (coordinator, processes, process_id) == (None, None, None):
        found = _slurm(environment) or _open_mpi(environment) or _tpu_pod(environment) or _kubernetes(environment)
        return _ask(*found, environment, seconds) if found else None
    known = _ranks(environment)
    processes = known[0] if processes is None else processes
    process_id = known[1] if process_id is None else process_id
    if coordinator is None or processes is None or process_id is None:
        raise UserError(
            "several processes need --coordinator HOST:PORT, --processes N and --process_id I, the last two unless "
            "SLURM or Open MPI tells them. --processes 1 runs alone."
        )
    if not re.fullmatch(r".+:\d{1,5}", coordinator):
        raise UserError(f"--coordinator {coordinator} must be HOST:PORT: where process 0 is, and a free port there.")
    if not 0 <= process_id < processes:
        raise UserError(f"--process_id {process_id} must be from 0 to {processes - 1} (--processes {processes}).")
    return Place("flags", "deactivate", coordinator, processes, process_id)


def _ask(how: str, method: str, environment: Mapping[str, str], seconds: float) -> Place:
    """Lets JAX find out where process 0 is: it knows how each scheduler says so."""
    from jax._src import clusters

    cluster = next(one for one in clusters.ClusterEnv._cluster_types if one.name == method)
    port = environment.get("JAX_COORDINATOR_PORT")
    told = environment.get("JAX_COORDINATOR_ADDRESS")
    address = told or cluster.get_coordinator_address(timeout_secs=int(seconds), override_coordinator_port=port)
    return Place(how, method, address, cluster.get_process_count(), cluster.get_process_id())


def _ranks(environment: Mapping[str, str]) -> tuple[int | None, int | None]:
    for count, index in _RANKS.values():
        if count in environment and index in environment:
            return int(environment[count]), int(environment[index])
    return None, None


def _slurm(environment: Mapping[str, str]) -> tuple[str, str] | None:
    """A task of `srun`. In a batch script, or in a shell on a login node, a process is alone."""
    needed = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
    if not all(name in environment for name in needed):
        return None
    # A shell inside an allocation has the job's number of tasks, and is itself a step of one.
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS") or environment["SLURM_NTASKS"])
    return ("SLURM", "slurm") if tasks > 1 else None


def _open_mpi(environment: Mapping[str, str]) -> tuple[str, str] | None:
    if int(environment.get("OMPI_COMM_WORLD_SIZE", "1")) < 2:
        return None
    if "OMPI_MCA_orte_hnp_uri" not in environment:  # since version 5 there is nothing that names the first host
        raise UserError("this Open MPI does not say where its first process is. Pass --coordinator HOST:PORT.")
    return "Open MPI", "ompi"


def _tpu_pod(environment: Mapping[str, str]) -> tuple[str, str] | None:
    """A host of a slice with several, on Compute Engine or on GKE."""
    if importlib.util.find_spec("libtpu") is None and "TPU_LIBRARY_PATH" not in environment:
        return None
    from jax._src import clusters

    for cluster in (clusters.GkeTpuCluster, clusters.GceTpuCluster):
        if cluster.is_env_present():
            return ("Cloud TPU", cluster.name) if cluster.get_process_count() > 1 else None
    return None


def _kubernetes(environment: Mapping[str, str]) -> tuple[str, str] | None:
    """A pod of an indexed Job (or JobSet); how many there are is asked of the cluster."""
    if "KUBERNETES_SERVICE_HOST" not in environment or "JOB_COMPLETION_INDEX" not in environment:
        return None
    if importlib.util.find_spec("kubernetes") is not None:
        from jax._src import clusters

        alone = not clusters.K8sCluster.is_env_present() or clusters.K8sCluster.get_process_count() < 2
        return None if alone else ("Kubernetes", "k8s")
    if int(environment["JOB_COMPLETION_INDEX"]) > 0:
        raise UserError(
            "this is not the first pod of its job, and without the package 'kubernetes' the others cannot be found. "
            "Install it, or pass --coordinator, --processes and --process_id."
        )
    return None
