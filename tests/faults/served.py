"""A server of a model folder that is asked until it is gone."""

import re
import threading
from pathlib import Path
from typing import Any

import httpx2

ASKED: dict[str, dict[str, Any] | None] = {
    "/users/1/recommendations": None,
    "/users/2/recommendations?k=7&explain=true": None,
    "/items/3/similar": None,
    "/recommendations": {"liked": ["1", "2"], "k": 5},
}
"""Paths, and what is posted there."""


def address(log: Path) -> str | None:
    """Where a server says that it listens, once it has."""
    found = re.search(r"(http://\S+) to explore", log.read_text(encoding="utf-8"))
    return found and found[1]


def listens(url: str) -> bool:
    """Does a server answer there by now?"""
    try:
        return httpx2.get(f"{url}/health", timeout=60).is_success
    except httpx2.ConnectError:
        return False


def answer(url: str, path: str) -> Any:
    """What a server answers to one of `ASKED`; raises TransportError where it does not."""
    posted = ASKED[path]
    method = "GET" if posted is None else "POST"
    found = httpx2.request(method, url + path, json=posted, timeout=60)
    found.raise_for_status()
    return found.json()


class Asking(threading.Thread):
    """Asks in turn until nobody answers, and holds the answers against the expected ones."""

    def __init__(self, url: str, expected: dict[str, Any]):
        super().__init__()
        self.url, self.expected = url, expected
        self.answered = 0
        self.wrong: list[str] = []
        self.start()

    def run(self) -> None:
        """Until the server is gone."""
        try:
            while True:
                for path, expected in self.expected.items():
                    if (found := answer(self.url, path)) != expected:
                        self.wrong.append(f"{path} gives {found}")
                    self.answered += 1
        except httpx2.TransportError:
            pass
        except httpx2.HTTPStatusError as error:
            self.wrong.append(str(error))
