"""Does memory grow with work that is done and forgotten? Run: python benchmarks/leaks.py

One process learns rows of made-up data again and again, each family in turn, and then answers a
server's requests, beneath HTTP: lists of known users, of somebody new, explained ones, similar
items and searches. What it holds of the system is read at a hundred moments; those of the first
tenth, in which programs are compiled and caches fill, do not count.

The last line is JSON: of fits and of requests MB after a tenth and at the end, and bytes for each
one by the line of least squares.
"""

import asyncio
import json
import sys
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
from harness import machine

sys.path.insert(0, str(Path(__file__).parent.parent))

from jaxrec.evaluation.split import Split
from jaxrec.models.model import Evidence, Settings
from jaxrec.models.registry import MODELS, learn
from jaxrec.sources.synthetic import synthetic_dataset
from jaxrec.web.guard import Rules
from jaxrec.web.ready import Ready
from jaxrec.web.server import guarded, serving
from tests.web.tasted import made

MOMENTS = 100
SMALL: Settings = {"factors": 8, "sweeps": 5, "dim": 8, "epochs": 2}
"""Of what a row has of these."""


def watched(name: str, times: int, work: Callable[[int], object]) -> dict[str, float]:
    """What so many calls of `work` leave behind; it is told how many have been."""
    process, at, held = psutil.Process(), [], []
    for done in range(times):
        work(done)
        if (done + 1) % (times // MOMENTS) == 0:
            at.append(done + 1)
            held.append(process.memory_info().rss)
    at, held = at[MOMENTS // 10 - 1 :], held[MOMENTS // 10 - 1 :]
    slope = float(np.polyfit(at, held, 1)[0])
    print(f"{name}: {held[0] / 1e6:.1f} MB after {at[0]:,}, {held[-1] / 1e6:.1f} MB after"
          f" {at[-1]:,}, {slope:.0f} bytes each", flush=True)  # fmt: skip
    return {"times": times, "tenth_mb": held[0] / 1e6, "end_mb": held[-1] / 1e6, "bytes": slope}


def fits(times: int) -> dict[str, float]:
    """Rows of every family that is there."""
    dataset = synthetic_dataset(users=100, items=200)
    E = np.random.default_rng(0).normal(size=(dataset.items, 8)).astype(np.float32)
    everything = Split(np.arange(len(dataset.interactions.users)), np.zeros(0, np.int64))
    evidence = Evidence(dataset, everything, E, 1, {})
    rows = [row for row in MODELS if row != "ials"]

    def fit(done: int) -> None:
        row = rows[done % len(rows)]
        settings = MODELS[row].settings
        learn(row, evidence, settings | {name: SMALL[name] for name in SMALL if name in settings})

    return watched("fits", times, fit)


def requests(times: int) -> dict[str, float]:
    """To the application, as a server calls it."""
    service = serving(Path("model"), Ready(made()))
    app, rng = guarded(service, Rules(rate=10**9)), np.random.default_rng(0)

    async def ask(method: str, path: str, query: str = "", body: bytes = b"") -> None:
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        status: list[int] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                status.append(message["status"])

        await app(scope, receive, send)
        if status != [200]:
            raise click.ClickException(f"{method} {path}?{query}: status {status}")

    async def one(done: int) -> None:
        user, item = rng.integers(1, 101), rng.integers(1, 201)
        match done % 5:
            case 0 | 1:
                await ask("GET", f"/users/{user}/recommendations", f"k={rng.integers(1, 20)}")
            case 2:
                liked = rng.choice(200, 8, replace=False) + 1
                somebody = {"liked": liked.tolist(), "explain": done % 50 == 2}
                await ask("POST", "/recommendations", body=json.dumps(somebody).encode())
            case 3:
                await ask("GET", f"/items/{item}/similar")
            case 4:
                await ask("GET", "/items", f"q=a{item % 10}")

    with asyncio.Runner() as runner:
        found = watched("requests", times, lambda done: runner.run(one(done)))
    service.worker.close()
    return found


@click.command()
@click.option("--fits", "fitted", default=1_000)
@click.option("--requests", "asked", default=100_000)
def main(fitted: int, asked: int) -> None:
    found = {"fits": fits(fitted), "requests": requests(asked)}
    print(json.dumps({"measure": "leaks"} | found | {"machine": machine()}))


if __name__ == "__main__":
    main()
