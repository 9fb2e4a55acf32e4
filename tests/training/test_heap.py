"""Memory that was freed leaves the process, and threads share their heaps, against what the system says of it."""

import ctypes
import os
import subprocess
import sys

import pytest

from benchmarks.measure import resident
from llumi_jax.training import heap

_BLOCK, _COUNT = 8192, 20_000


def test_freed_blocks_below_one_that_is_held_go_back_to_the_system():
    library = ctypes.CDLL(None)
    if not hasattr(library, "malloc_trim"):
        pytest.skip("not glibc")
    library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    library.malloc.argtypes = [ctypes.c_size_t]
    blocks = [library.malloc(_BLOCK) for _ in range(_COUNT)]
    for block in blocks:
        ctypes.memset(block, 1, _BLOCK)
    top = max(blocks)
    for block in blocks:
        if block != top:
            library.free(block)
    before = resident()
    heap.give_back()
    given = before - resident()
    library.free(top)
    assert given > 0.8 * _BLOCK * _COUNT


# Sixteen threads allocate while all of them are alive; the C library says into how many heaps.
_THREADS = """
import ctypes, sys, threading
from llumi_jax.training import heap
if sys.argv[1] == "limited": heap.limit_arenas()
library, together = ctypes.CDLL(None), threading.Barrier(16)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.fopen.restype, library.malloc_info.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
library.fclose.argtypes = [ctypes.c_void_p]
def allocate():
    together.wait()
    library.malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = library.fopen(sys.argv[2].encode(), b"w")
library.malloc_info(0, file)
library.fclose(file)
"""


def heaps(tmp_path, what: str, **environment: str) -> int:
    info = tmp_path / "info.xml"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", _THREADS, what, str(info)]
    subprocess.run(command, check=True, env={**clean, "PYTHONPATH": os.getcwd(), **environment})
    return info.read_text().count("<heap nr=")


def test_threads_share_two_heaps(tmp_path):
    if not hasattr(ctypes.CDLL(None), "malloc_info"):
        pytest.skip("not glibc")
    assert heaps(tmp_path, "as it was") > 2
    assert heaps(tmp_path, "limited") == 2
    assert heaps(tmp_path, "limited", MALLOC_ARENA_MAX="4") > 2, "the environment decides"


def test_another_c_library_is_left_alone(monkeypatch):
    def none(name):
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", none)
    heap.give_back()
    heap.limit_arenas()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    heap.give_back()
    heap.limit_arenas()
