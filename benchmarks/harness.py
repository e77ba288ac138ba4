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


def interleave(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each; they take turns, so that a drift of the machine's speed meets all."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            times[name].append(seconds(work))
    for name, spent in times.items():
        median = statistics.median(spent)
        print(f"{name}: median {median:.4g} s of {', '.join(f'{t:.4g}' for t in spent)}")
    return {name: statistics.median(spent) for name, spent in times.items()}


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
    """Accelerator, if JAX has one, else processor and cores; and the system."""
    import jax

    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{device.device_kind}, {platform.system()}"
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"
