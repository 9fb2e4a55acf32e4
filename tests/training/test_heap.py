"""Memory that was freed leaves the process, against what the system says of it."""

import ctypes

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


def test_another_c_library_is_left_alone(monkeypatch):
    def none(name):
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", none)
    heap.give_back()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    heap.give_back()
