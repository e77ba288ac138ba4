"""Numbers that are not written as one writes them, looked for at the speed of memory."""

import mmap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

CACHED = 2**18
"""Bytes that are looked at at once: they stay in the processor's cache."""


def has_odd_numbers(place: Path, separator: str) -> bool:
    """Does a field begin like a number that is not written as one writes it: 007, +7, -0?"""
    size = place.stat().st_size
    if not size:
        return False
    edges = [ord(separator), ord("\n"), ord('"')]
    with place.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:

        def odd(start: int) -> bool:
            block = text[max(start - 1, 0) : start + CACHED + 1]
            if b"+" in block or (b"-" in block and b"-0" in block):
                return True
            b = np.frombuffer(block if start else b"\n" + block, np.uint8)
            edge = b[:-2] == edges[0]
            for other in edges[1:]:
                edge |= b[:-2] == other
            edge &= b[1:-1] == ord("0")
            edge &= b[2:] - ord("0") < 10  # unsigned: what is below 0 wraps around
            return bool(edge.any())

        with ThreadPoolExecutor() as pool:
            return any(pool.map(odd, range(0, size, CACHED)))
