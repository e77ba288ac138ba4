"""What is somewhere in a file, looked for in all its bytes at the speed of memory."""

import mmap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CACHED = 2**18
"""Bytes that are looked at at once: they stay in the processor's cache."""
Test = Callable[[bytes, NDArray[np.uint8]], bool]
"""Of a block of a file that overlaps with the next, as bytes and as numbers."""


def somewhere(place: Path, test: Test) -> bool:
    """Is something so in any part of a file? Line ends are put around it."""
    size = place.stat().st_size
    if not size:
        return False
    with place.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:

        def found(start: int) -> bool:
            block = text[max(start - 1, 0) : start + CACHED + 1]
            block = block if start else b"\n" + block
            block = block if start + CACHED < size else block + b"\n"
            return test(block, np.frombuffer(block, np.uint8))

        with ThreadPoolExecutor() as pool:
            return any(pool.map(found, range(0, size, CACHED)))


def odd_numbers(separator: str) -> Test:
    """Does a field begin like a number that is not written as one writes it: 007, +7, -0?"""

    def odd(block: bytes, b: NDArray[np.uint8]) -> bool:
        if b"+" in block or (b"-" in block and b"-0" in block):
            return True
        edge = b[:-2] == ord(separator)
        for other in b'\n"':
            edge |= b[:-2] == other
        edge &= b[1:-1] == ord("0")
        edge &= b[2:] - ord("0") < 10  # unsigned: what is below 0 wraps around
        return bool(edge.any())

    return odd


def loose_quotes(separator: str) -> Test:
    """Is there a quote within a field, which would have to be doubled?"""

    def loose(block: bytes, b: NDArray[np.uint8]) -> bool:
        if b'"' not in block:
            return False
        at = np.flatnonzero(b[1:-1] == ord('"')) + 1
        edges = np.frombuffer(f'{separator}"\r\n'.encode(), np.uint8)
        return bool((~np.isin(b[at - 1], edges) & ~np.isin(b[at + 1], edges)).any())

    return loose
