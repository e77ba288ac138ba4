"""Interleaved timing and the one JSON line that every benchmark ends with."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call; the call must wait for its own result."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleave(
    ours: Callable[[], object], peer: Callable[[], object], repeats: int
) -> tuple[list[float], list[float]]:
    """Time the two in turn, so that a drift of the machine's speed meets both."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for work, spent in zip((ours, peer), times, strict=True):
            spent.append(seconds(work))
    for name, spent in zip(("ours", "peer"), times, strict=True):
        median = statistics.median(spent)
        print(f"{name}: median {median:.3f} s of {', '.join(f'{t:.3f}' for t in spent)}")
    return times


def report(measure: str, ours: float, peer: float, peer_name: str, unit: str) -> None:
    """Print the result as the last line: JSON with the ratio ours / peer."""
    result = {
        "measure": measure,
        "ours": ours,
        "peer": peer,
        "peer_name": peer_name,
        "unit": unit,
        "ratio": ours / peer if peer else None,
        "machine": machine(),
    }
    print(json.dumps(result))


def machine() -> str:
    """Processor, cores and system."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"
