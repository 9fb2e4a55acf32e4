"""Before anything else all processes report to process 0: a host that is missing has a number, and the others names."""

import os
import socket
import time

from llumi_jax.cli import RunFailure, UserError
from llumi_jax.training.hosts.company import Company, Line
from llumi_jax.training.hosts.place import Place

_RETRY = 0.2  # seconds between two attempts to reach process 0
_INTRODUCTION = 10.0  # seconds that a process has to say who it is, once connected


def roll_call(place: Place, seconds: float) -> Company:
    """Waits until all processes of the run have reported, on the coordinator's port, which is free again afterwards.

    Raises:
      RunFailure: some did not report within `seconds`; it says which.
      UserError: two processes have the same number, or count the processes differently; or the port is not free.
    """
    return _call(place, seconds) if place.process_id == 0 else _report(place, seconds)


def _name(place: Place, index: int, host: str, pid: int) -> str:
    return f"process {index} of {place.processes} (host {host}, pid {pid})"


def _call(place: Place, seconds: float) -> Company:
    names = {0: _name(place, 0, socket.gethostname(), os.getpid())}
    lines: dict[int, Line] = {}
    deadline = time.monotonic() + seconds
    try:
        with _server(int(place.coordinator.rsplit(":", 1)[1])) as server:
            while len(names) < place.processes:
                server.settimeout(max(0.01, deadline - time.monotonic()))
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    raise RunFailure(_missing(place, names, seconds)) from None
                _admit(place, Line(connection), names, lines)
    except (RunFailure, UserError) as error:
        for line in lines.values():
            line.say(refused=str(error), mistake=isinstance(error, UserError))
        raise
    known = [names[index] for index in range(place.processes)]
    for line in lines.values():
        line.say(names=known)
    return Company(0, known, lines)


def _server(port: int) -> socket.socket:
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=1024, dualstack_ipv6=True)
        return socket.create_server(("", port), backlog=1024)
    except OSError as error:
        raise UserError(f"port {port} of the coordinator cannot be used ({error.strerror}). Choose another.") from None


def _admit(place: Place, line: Line, names: dict[int, str], lines: dict[int, Line]) -> None:
    """Notes a process that has reported. What does not speak our language is turned away and forgotten."""
    line.limit(_INTRODUCTION)
    said = line.hear() or {}
    if said.get("run") != "llumi_jax":
        return line.close()
    index, name = int(said["index"]), _name(place, int(said["index"]), str(said["host"]), int(said["pid"]))
    line.limit(None)
    if index in names or int(said["of"]) != place.processes or not 0 < index < place.processes:
        why = f"{name} reported to one of {said['of']}, where {names.get(index, f'{place.processes} are awaited')}"
        line.say(refused=why, mistake=True)
        raise UserError(f"{why}. Give every process a number of its own, and all the same --processes.")
    names[index], lines[index] = name, line


def _missing(place: Place, names: dict[int, str], seconds: float) -> str:
    missing = [index for index in range(place.processes) if index not in names]
    numbers = ", ".join(map(str, missing[:20])) + (" …" if len(missing) > 20 else "")
    return (
        f"{len(names)} of {place.processes} processes joined within {seconds:g} seconds; missing: process {numbers}. "
        f"Look at their logs; they must reach {place.coordinator}. There: {'; '.join(list(names.values())[:20])}. "
        "Another limit: --join_seconds N."
    )


def _report(place: Place, seconds: float) -> Company:
    host, port = place.coordinator.rsplit(":", 1)
    deadline = time.monotonic() + seconds
    while True:
        line = _connected(host.strip("[]"), int(port), deadline)
        if line is None:
            raise RunFailure(
                f"process 0 does not answer at {place.coordinator} within {seconds:g} seconds, says process "
                f"{place.process_id} of {place.processes} on {socket.gethostname()}. Look at its log."
            )
        line.say(
            run="llumi_jax", index=place.process_id, of=place.processes, host=socket.gethostname(), pid=os.getpid()
        )
        # Process 0 gives up first, and says who is missing.
        line.limit(max(0.01, deadline - time.monotonic()) + _INTRODUCTION)
        said = line.hear()
        if said and "names" in said:
            line.limit(None)
            return Company(place.process_id, said["names"], {0: line})
        if said and "refused" in said:
            raise (UserError if said.get("mistake") else RunFailure)(said["refused"])
        line.close()
        time.sleep(_RETRY)  # it was another program's port, or process 0 was started again


def _connected(host: str, port: int, deadline: float) -> Line | None:
    while time.monotonic() < deadline:
        try:
            return Line(socket.create_connection((host, port), timeout=max(0.1, deadline - time.monotonic())))
        except OSError:
            time.sleep(_RETRY)
    return None
