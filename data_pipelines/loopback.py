"""HTTP to a server on this machine, and to no other: what is sent here must never leave it.

Addresses are checked three times: as written, as resolved, and by the peer of the open connection before a byte of
the request goes out. Proxies of the environment are not asked and redirects are not followed. What the server itself
does with what it hears (a tunnel, say) cannot be seen from here.
"""

import ipaddress
import json
import socket
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from llumi_jax.cli import UserError

MAX_ANSWER = 4 << 20  # bytes
_EXAMPLE = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Address:
    """A place on this machine."""

    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{self.path}"


@dataclass(frozen=True)
class Answer:
    """What came back. `retry_after` is in seconds, None where the server does not say."""

    status: int
    body: bytes
    retry_after: float | None = None


def parse(url: str) -> Address:
    """Reads an address of the form http://127.0.0.1:8000/path.

    Raises:
      UserError: another scheme than http, or a host that is not this machine's loopback.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
    except ValueError as error:
        raise UserError(f"{url!r} is no address ({error}). Give one like {_EXAMPLE}.") from None
    if parts.scheme != "http" or not host:
        raise UserError(f"{url!r}: only plain http on this machine is spoken here. Give an address like {_EXAMPLE}.")
    if not _is_loopback(host):
        raise UserError(
            f"{url!r} is another machine. Posts of people in distress must not leave this one: run the model here and "
            f"give its address, {_EXAMPLE} for instance."
        )
    return Address(host, port, parts.path.rstrip("/"))


def _is_loopback(host: str) -> bool:
    """Whether a host is a loopback address; of names only `localhost` is taken, and only if it means one."""
    if host != "localhost":
        return _is_loopback_ip(host)
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return bool(found) and all(_is_loopback_ip(str(entry[4][0])) for entry in found)


def _is_loopback_ip(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class _Connection(HTTPConnection):
    """A connection that sends nothing before it has seen that its peer is on this machine."""

    def connect(self) -> None:
        super().connect()
        peer = str(self.sock.getpeername()[0])
        if not _is_loopback_ip(peer):
            self.close()
            raise UserError(f"{self.host} led to another machine, and nothing was sent. Give 127.0.0.1 instead.")


def post_json(address: Address, value: Any, timeout: float, token: str | None = None) -> Answer:
    """Sends a JSON object and returns the answer, whatever its status.

    Raises:
      TimeoutError: no whole answer within `timeout` seconds.
      OSError, HTTPException: nobody listens, or the connection broke.
      UserError: the connection led to another machine.
    """
    return _exchange(address, "POST", json.dumps(value).encode(), timeout, token)


def get(address: Address, timeout: float, token: str | None = None) -> Answer:
    """Asks for what stands at an address; raises as `post_json` does."""
    return _exchange(address, "GET", None, timeout, token)


def _exchange(address: Address, method: str, content: bytes | None, timeout: float, token: str | None) -> Answer:
    end = time.monotonic() + timeout
    connection = _Connection(address.host, address.port, timeout=timeout)
    headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if content else {})
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        connection.request(method, address.path, content, headers)
        response = connection.getresponse()
        body = b""
        while piece := response.read1(1 << 16):
            body += piece
            if len(body) > MAX_ANSWER:
                raise HTTPException("the answer does not end")
            if time.monotonic() > end:
                raise TimeoutError
        if response.length:
            raise HTTPException("the answer ends too soon")
        return Answer(response.status, body, _seconds(response.getheader("Retry-After")))
    finally:
        connection.close()


def _seconds(value: str | None) -> float | None:
    """Reads Retry-After where it is a number; its other form, a date, says nothing useful about this machine."""
    return float(value) if value and value.isascii() and value.isdecimal() else None
