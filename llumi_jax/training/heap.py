"""The C library's heaps: few of them, and what a long run has freed goes back to the system. For glibc alone."""

import contextlib
import ctypes
import os
from typing import Any

_M_ARENA_MAX = -8  # malloc.h
_ARENAS = 2


def limit_arenas() -> None:
    """Has all threads allocate from two heaps, unless MALLOC_ARENA_MAX in the environment says otherwise.

    To be called before threads are started. glibc gives eight heaps to each processor, and a thread one of them by
    chance: what lives long ends up among short-lived buffers in all of them, and a process grows for hours although it
    holds no more than before.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        _call("mallopt", _M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Returns memory that the C library keeps for later allocations to the system.

    Compiling leaves hundreds of megabytes there, and buffers that many threads allocate and free leave pieces. Takes
    some milliseconds.
    """
    _call("malloc_trim", 0)


def _call(function: str, *arguments: Any) -> None:
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no such function, no such library
        getattr(ctypes.CDLL(None), function)(*arguments)
