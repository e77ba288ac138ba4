"""The processor, the memory, and the devices that JAX and torch see."""

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

INSTRUCTIONS = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "bf16": {"avx512_bf16", "amx_bf16", "bf16"},
}
"""What each is called in /proc/cpuinfo, on one processor or another."""
DEVICES = {
    "jax": "import jax; found = [f'{d.platform}: {d.device_kind}' for d in jax.local_devices()]",
    "torch": (
        "import torch; accelerator = torch.accelerator.current_accelerator(check_available=True);"
        " found = ['cpu'] if accelerator is None else [f'{accelerator.type}: '"
        " + (torch.cuda.get_device_name(n) if accelerator.type == 'cuda' else str(n))"
        " for n in range(torch.accelerator.device_count())]"
    ),
}
"""Programs that find the devices of a package."""
PATIENCE = 120
"""Seconds until a program that looks for devices is given up."""


def processor() -> dict[str, Any]:
    """Its `model`, the `cores` of the machine and those this process may `use`, `instructions`.

    Of instructions nothing (None) is known where there is no /proc/cpuinfo.
    """
    said = Path("/proc/cpuinfo")
    text = said.read_text(errors="replace") if said.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    known = None if flags is None else set(flags[1].split())
    affinity = hasattr(os, "sched_getaffinity")  # not on macOS and Windows
    return {
        "model": model[1] if model else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "use": len(os.sched_getaffinity(0)) if affinity else os.cpu_count(),
        "instructions": None
        if known is None
        else [name for name, called in INSTRUCTIONS.items() if called & known],
    }


def memory() -> dict[str, int | None]:
    """Bytes of the `machine`, of the `container` if it is limited, and the default `budget`."""
    import psutil

    from jaxrec.budget import Budget, container_memory

    machine = psutil.virtual_memory().total
    container = min((limit for limit in container_memory() if limit < machine), default=None)
    return {"machine": machine, "container": container, "budget": Budget.of().memory}


def devices(package: str) -> list[str]:
    """Those that JAX or torch sees, asked in a process of its own: a broken one ends no other.

    Raises:
        RuntimeError: why it sees none, in a line.
    """
    return run(DEVICES[package])


def load(package: str) -> None:
    """Import a package in a process of its own.

    Raises:
        RuntimeError: why it cannot be, in a line.
    """
    run(f"import {package}; found = []")


def run(program: str) -> list[str]:
    """What a program of Python leaves in `found`.

    Raises:
        RuntimeError: the last line it said before it failed.
    """
    program = f"import json; {program}; print(json.dumps(found))"
    own = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # looking takes no memory
    how: dict[str, Any] = {"env": own, "capture_output": True, "text": True, "timeout": PATIENCE}
    try:
        done = subprocess.run([sys.executable, "-c", program], check=False, **how)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no answer within {PATIENCE} s") from None
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    said = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
    raise RuntimeError(said[-1])
