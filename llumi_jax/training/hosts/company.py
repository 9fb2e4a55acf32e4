"""One open line between process 0 and each other process: who is there, who failed, who is gone.

JAX's own heartbeats end a process from within its C++ code, half a minute late and in words of its own. A killed
process closes its line at once, and the kernel finds out about a host that no longer answers.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, NoReturn

_SAME_MISTAKE = 1.0  # seconds in which process 0 comes to a mistake by itself that another process has made
_LINGER = 5.0  # seconds that process 0 waits at its end until the others have heard of it


class Line:
    """A connection that carries one JSON object a line."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket, self._file = connection, connection.makefile("r", encoding="utf-8")
        self._lock = threading.Lock()

    def limit(self, seconds: float | None) -> None:
        """How long `hear` waits."""
        self._socket.settimeout(seconds)

    def keep_alive(self, seconds: float) -> None:
        """Has the kernel close the line when the other host has not answered for so long."""
        part = max(1, int(seconds / 3))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, part)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, part)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))

    def say(self, **what: Any) -> None:
        """Sends an object; a line that is closed is no error, for its other end is noticed elsewhere."""
        with contextlib.suppress(OSError), self._lock:
            self._socket.sendall(json.dumps(what).encode() + b"\n")

    def hear(self) -> dict[str, Any] | None:
        """The next object, or None where the line is closed or carries something else."""
        try:
            said = json.loads(self._file.readline() or "null")
        except (OSError, ValueError):
            return None
        return said if isinstance(said, dict) else None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Company:
    """The processes of a run, as one of them sees them.

    Args:
      index: of this process.
      names: of all, as people read them.
      lines: to all others from process 0, to process 0 from each other.
    """

    def __init__(self, index: int, names: list[str], lines: Mapping[int, Line]) -> None:
        self.index, self.names, self._lines = index, names, dict(lines)
        self._ending = threading.Lock()
        self._left: set[int] = set()
        self._listeners = [threading.Thread(target=self._listen, args=(k,), daemon=True) for k in self._lines]

    def listen(self, heartbeat: float) -> None:
        """From now on the process ends when another one fails or is gone, or has been silent for so many seconds."""
        for line in self._lines.values():
            line.keep_alive(heartbeat)
        for listener in self._listeners:
            listener.start()

    def leave(self) -> None:
        """The run is over, and so are the lines."""
        if not self._ending.acquire(blocking=False):
            threading.Event().wait()  # the process is being ended
        self._tell(kind="left")
        for line in self._lines.values():
            line.close()

    def fail(self, code: int, message: str) -> NoReturn:
        """Ends this process and all others with an exit code and a line, which process 0 alone prints."""
        if not self._ending.acquire(blocking=False):
            threading.Event().wait()  # somebody else ends the process
        self._tell(kind="failed", code=code, message=message)
        if self.index == 0:
            self._print(message)
        self._linger()
        if self.index and any(listener.is_alive() for listener in self._listeners):
            self._print(message)  # process 0 did not say it
        self._exit(code)

    def await_end(self, seconds: float) -> None:
        """Gives the listeners time to end the process: what broke here may have its cause elsewhere."""
        time.sleep(seconds)

    def _listen(self, other: int) -> None:
        while said := self._lines[other].hear():
            if said.get("kind") == "left":
                self._left.add(other)
            elif said.get("kind") == "lost":
                self._gone(int(said["who"]))
            elif said.get("kind") == "failed":
                return self._failed(other, int(said["code"]), str(said["message"]))
        if other not in self._left:
            self._gone(other)

    def _gone(self, other: int) -> None:
        if not self._ending.acquire(blocking=False):
            return
        self._tell(kind="lost", who=other)
        self._print(
            f"{self.names[other]} is gone: killed, or its host no longer answers. All processes stop; what was saved "
            "last is whole. Start all of them again with the same command: they go on from there."
        )
        self._exit(1)

    def _failed(self, other: int, code: int, message: str) -> None:
        """Process 0 speaks for all."""
        if self.index == 0:
            time.sleep(_SAME_MISTAKE)
        if not self._ending.acquire(blocking=False):
            return
        if self.index == 0:
            self._tell(kind="failed", code=code, message=message)
            self._print(f"{self.names[other]}: {message}")
            self._linger()
        self._exit(code)

    def _tell(self, **what: Any) -> None:
        for line in self._lines.values():
            line.say(**what)

    def _linger(self) -> None:
        """Waits until the others have answered or are gone: JAX would end them in its own words if 0 went first."""
        deadline = time.monotonic() + _LINGER
        for listener in self._listeners:
            if listener.is_alive() and listener is not threading.current_thread():
                listener.join(max(0.0, deadline - time.monotonic()))

    def _print(self, message: str) -> None:
        print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)

    def _exit(self, code: int) -> NoReturn:
        """At once: whatever else runs may wait for a process that is no more."""
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(code)
