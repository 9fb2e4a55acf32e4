"""Memory, processors and the hardware's name, as the system tells them. The standard library alone.

Peak memory is that of the timed process between two moments: memory that was freed is given back, the kernel's
high-water mark is set back to what is in use (`/proc/self/clear_refs`), and read again at the end (VmHWM). Where that
cannot be done, it is the most that the process ever held (`ru_maxrss`), and `how` says so.
"""

import gc
import os
import platform
import re
import resource
import subprocess
import sys
from pathlib import Path

from llumi_jax.training import heap

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MB = 1e6


class PeakMemory:
    """The highest resident memory from `start()` on, in bytes."""

    def __init__(self) -> None:
        self.how = "VmHWM, set back before the measured part"
        self.before = 0

    def start(self) -> None:
        gc.collect()
        heap.give_back()
        try:
            _CLEAR.write_text("5")
        except OSError:
            self.how = "ru_maxrss, of the whole process"
        self.before = resident()

    def read(self) -> int:
        if self.how.startswith("VmHWM") and (peak := _status("VmHWM")):
            return peak
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(name: str) -> int:
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB", _STATUS.read_text(), re.M)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def use_threads(count: int) -> int:
    """Keeps this process on `count` processors, so that every library counts as many. Returns how many it got."""
    if not hasattr(os, "sched_setaffinity"):
        return os.cpu_count() or 1
    allowed = sorted(os.sched_getaffinity(0))[:count]
    os.sched_setaffinity(0, allowed)
    return len(allowed)


def thread_environment(count: int) -> dict[str, str]:
    """What libraries read about threads when they are loaded."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC")
    return {name: str(count) for name in names}


def resident() -> int:
    """Bytes of this process in memory."""
    return _status("VmRSS")


def hardware(threads: int | None = None) -> str:
    """The accelerator's name, else the processor's with the cores that are used."""
    count = threads or os.cpu_count() or 1
    return accelerator() or f"{_processor()}, {count} core{'s' * (count > 1)}"


def slug(name: str) -> str:
    """The name as a part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def accelerator() -> str:
    """The first GPU's name, or nothing."""
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    names = done.stdout.split("\n")[0].strip() if done.returncode == 0 else ""
    return names


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    name = found[1] if found else platform.processor() or platform.machine()
    return re.sub(r"\((R|TM)\)|\bCPU\b|@.*", "", name).strip().replace("  ", " ")
