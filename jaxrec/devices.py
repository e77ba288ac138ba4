"""What there is to compute on."""

import os

import jax


def workers() -> list[jax.Device]:
    """Every accelerator; without one, the CPU once per core that this process may use.

    XLA's CPU runtime works off a program's operations one after the other, so that cores are kept
    busy by several programs, each started from its own thread.
    """
    devices = jax.local_devices()
    if devices[0].platform != "cpu":
        return devices
    # macOS and Windows cannot confine a process to cores
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return devices[:1] * (cores or 1)
