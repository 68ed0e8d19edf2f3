"""This machine: its processors, which to use and what to call them, its memory. Imports nothing that starts threads."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path


def siblings(cpu: int) -> str:
    """The hardware threads of the core that `cpu` belongs to, as the system writes them."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def pin(threads: int) -> list[int]:
    """Confine this process to `threads` processors, on cores of their own as far as there are so many.

    Libraries that size their thread pools when they are loaded, as XLA does, then have that many threads.
    """
    cpus = sorted(os.sched_getaffinity(0))
    seen: dict[str, int] = {}
    rank = {}
    for cpu in cpus:
        core = siblings(cpu)
        rank[cpu] = seen[core] = seen.get(core, 0) + 1
    chosen = sorted(cpus, key=lambda cpu: (rank[cpu], cpu))[:threads]
    os.sched_setaffinity(0, chosen)
    return chosen


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model")))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


KINDS = ("AMD Zen 5 or later", "other machines", "Intel Xeon, whose memory is far")


def kind() -> int:
    """Which of `KINDS`: the bars depend on how near the memory is."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return 1
    said = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if said.get("vendor_id") == "AuthenticAMD":
        return 0 if int(said.get("cpu family", 0)) >= 26 else 1
    return 2 if "Xeon" in said.get("model name", "") else 1


def busy_seconds() -> float | None:
    """Of all processors together, since the system started, whoever used them."""
    try:
        first = Path("/proc/stat").read_text().splitlines()[0].split()
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(int, first[1:])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Others:
    """How many processors other programs keep busy, on average from here to the question."""

    def __init__(self) -> None:
        self.start = self.now()

    def now(self) -> tuple[float | None, float, float]:
        return busy_seconds(), time.process_time(), time.perf_counter()

    def processors(self) -> float | None:
        (busy, own, wall), (busy_then, own_then, then) = self.now(), self.start
        if busy is None or busy_then is None or wall == then:
            return None
        return round(max(0.0, (busy - busy_then - (own - own_then)) / (wall - then)), 2)


def free_memory() -> int:
    """Bytes that can be used without swapping; 1 GiB where the system does not say."""
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return 1 << 30


def last_level_cache() -> int:
    """Bytes of the largest cache, or 32 MiB where the system does not say."""
    sizes = [path.read_text() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    return max((int(size.strip().removesuffix("K")) * 1024 for size in sizes), default=32 << 20)
