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
    return devices[:1] * len(os.sched_getaffinity(0))
