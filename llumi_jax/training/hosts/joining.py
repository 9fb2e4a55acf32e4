"""A process joins the others of its run, and all of them end together, well or not."""

import contextlib
import dataclasses
import os
import sys
import traceback
from collections.abc import Iterator

from llumi_jax import cli
from llumi_jax.cli import RunFailure
from llumi_jax.training.hosts.company import Company
from llumi_jax.training.hosts.place import HEARTBEAT_SECONDS, JOIN_SECONDS, Place
from llumi_jax.training.hosts.roll_call import roll_call

_SHUTDOWN_SECONDS = 3600  # the others wait for process 0, which writes the report; that it lives is known otherwise
# Words of errors whose cause may be a process that is gone.
_OF_OTHERS = ("gloo", "nccl", "peer", "connection", "unavailable", "deadline", "barrier", "heartbeat", "coordination")


@dataclasses.dataclass(frozen=True)
class Patience:
    """Seconds: to wait until all have joined, and until a silent process counts as lost."""

    join: float = JOIN_SECONDS
    heartbeat: float = HEARTBEAT_SECONDS


@contextlib.contextmanager
def joined(place: Place | None, patience: Patience = Patience()) -> Iterator[None]:
    """Makes this process one of several within; nothing happens where it is alone.

    To be entered before JAX has looked for devices. Whatever ends one process by an exception ends all: process 0
    prints why, the others are silent on standard output throughout.

    Raises:
      RunFailure, UserError: as `roll_call`.
    """
    if place is None:
        yield
        return
    company = roll_call(place, patience.join)
    try:
        company.listen(patience.heartbeat)
        _initialize(place, patience)
        if place.process_id:
            _be_silent()
        print(f"{place.processes} processes, joined by {place.how}; {company.names[0]}", flush=True)
        yield
    except BaseException as error:
        _end(company, error, patience)
    _part(company)


def _be_silent() -> None:
    """Nothing goes to standard output any more, from libraries neither."""
    sys.stdout.flush()
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)


def _initialize(place: Place, patience: Patience) -> None:
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(
            place.coordinator,
            place.processes,
            place.process_id,
            cluster_detection_method=place.method,
            initialization_timeout=int(patience.join),
            heartbeat_timeout_seconds=max(1, int(patience.heartbeat)),
            shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        raise RunFailure(f"JAX could not join the processes at {place.coordinator}: {error}") from error


def _part(company: Company) -> None:
    """All processes have come to the end."""
    import jax

    jax.distributed.shutdown()
    company.leave()


def _end(company: Company, error: BaseException, patience: Patience) -> None:
    message, code = cli.outcome(error)
    if message is None:  # nobody foresaw it
        text = f"{type(error).__name__}: {error}"
        far = isinstance(error, RuntimeError) and any(word in text.lower() for word in _OF_OTHERS)
        company.await_end(patience.heartbeat + 5 if far else 1)
        traceback.print_exception(error)
        message = (text.strip().splitlines() or [""])[0]
    company.fail(code, message)
