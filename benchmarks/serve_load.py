"""What `jaxrec serve` bears. Run: python benchmarks/serve_load.py MODEL --rate 300 --seconds 600

`wrk` asks on loopback, at random times: a connection for every four requests a second, which waits
a quarter of a second on average, so that who has to wait longer hardly asks less often. First for
lists of random known users, then, as POST /recommendations, for those of somebody new who likes
some random items. The server remembers the lists of known users; those of somebody new it makes.

The last line is JSON: per kind the rate that was asked and reached, milliseconds and errors; the
server's memory before, at its most and after; and the bytes of the model's arrays.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.request import urlopen

import click
import numpy as np
import polars as pl
import psutil
from harness import machine
from large import ITEMS, USERS, power_law

from jaxrec.data.dataset import Catalogue
from jaxrec.data.features import FeatureSpace
from jaxrec.data.feedback import Feedback
from jaxrec.data.ids import Ids
from jaxrec.models.factorization import of_factors
from jaxrec.models.registry import MODELS
from jaxrec.pmf.objective import Factors
from jaxrec.serving.folder import read_model, write_model
from jaxrec.serving.model import FittedModel
from jaxrec.serving.strangers import Strangers

LUA = """
local lines, mean = {}, 1000
function init(args)
  mean = tonumber(args[2])
  for line in io.lines(args[1]) do lines[#lines + 1] = line end
end
function delay() return math.floor(-math.log(1 - math.random()) * mean + 0.5) end
function request()
  local line = lines[math.random(#lines)]
  if line:sub(1, 1) == "/" then return wrk.format("GET", line) end
  return wrk.format("POST", "/recommendations", {["Content-Type"] = "application/json"}, line)
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'JSON {"requests": %d, "seconds": %.3f, "p50_ms": %.2f, "p99_ms": %.2f, "max_ms": %.2f,' ..
    ' "errors": %d}\\n', summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class Server:
    """`jaxrec serve`, and what it takes."""

    def __init__(self, model: Path, log: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        code = "from jaxrec.cli import main; main()"
        options = ["--model", str(model), "--port", str(port), "--rate", "1000000"]
        with log.open("w") as told:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, "serve", *options], stderr=told
            )
        self._seen = psutil.Process(self.process.pid)
        self.most = 0

    def until(self, right: Callable[[dict[str, Any]], bool], seconds: float = 600) -> float:
        """Seconds until /health answers so."""
        began = time.perf_counter()
        while time.perf_counter() - began < seconds and self.process.poll() is None:
            try:
                with urlopen(f"{self.url}/health") as answer:
                    if right(json.load(answer)):
                        return time.perf_counter() - began
            except OSError:
                pass
            time.sleep(0.1)
        raise click.ClickException("the server does not answer")

    def memory(self) -> int:
        """Resident bytes."""
        now = self._seen.memory_info().rss
        self.most = max(self.most, now)
        return now

    def watch(self, ended: Event) -> None:
        """Once a second."""
        while not ended.wait(1):
            self.memory()


def load(server: Server, lines: Path, rate: int, seconds: int, script: Path) -> dict[str, Any]:
    """What `wrk` finds."""
    connections = -(-rate // 4)
    pause = str(1000 * connections / rate)
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "10s"]
    command += ["-s", str(script), server.url, "--", str(lines), pause]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = json.loads(next(line for line in told.splitlines() if line.startswith("JSON"))[5:])
    return {"asked_per_s": rate, "reached_per_s": found["requests"] / found["seconds"]} | found


def bytes_of(model: FittedModel) -> int:
    """Of all arrays."""
    parts = [array for arrays in model.learned.values() for array in arrays.values()]
    parts += [column for column in model.known if column is not None]
    parts += [model.trained, model.item_counts, model.strangers.liked]
    parts += [model.user_ids.names, model.catalogue.ids.names]
    return sum(part.nbytes for part in parts if part is not None) + (
        0 if model.E is None else model.E.nbytes
    )


def large_model() -> FittedModel:
    """Of made factors: row `pmf` of the large matrix, with 20 million interactions."""
    rng, known = np.random.default_rng(0), power_law(typical=4.22)
    U, V = (rng.normal(0, 0.125, (n, 64)).astype(np.float32) for n in (USERS, ITEMS))
    counts = np.bincount(known.items, minlength=ITEMS)
    figures = dict.fromkeys(("precision@25", "recall@25", "ndcg@25"), 0.0)
    none = {"metrics": figures, "ci95": dict.fromkeys(figures, (0.0, 0.0))}
    size = {"users": USERS, "items": ITEMS, "interactions": len(known.users)}
    data = size | {"name": "large", "synthetic": True, "licence": None}
    protocol = {"protocol": "none", "seed": 0, "train_interactions": 0, "test_interactions": 0}
    return FittedModel(
        row="pmf",
        settings={"pmf": MODELS["pmf"].settings | {"factors": 64}},
        learned={"pmf": of_factors(Factors(U, V), counts > 0, 0.01)},
        fusion=None,
        feedback=Feedback.of("stars", np.arange(1.0, 6.0)),
        user_ids=Ids(range(USERS), "user"),
        catalogue=Catalogue(
            Ids(range(ITEMS), "item"),
            pl.DataFrame({"title": [f"Item {item}" for item in range(ITEMS)]}),
            title="title",
            text="{title}",
        ),
        known=known,
        trained=np.arange(USERS, dtype=np.int32),
        item_counts=counts,
        candidates=np.ones(ITEMS, bool),
        tie_order=rng.permutation(ITEMS).astype(np.int32),
        strangers=Strangers("most liked", {}, counts[:, None].astype(np.float32), None),
        space=FeatureSpace({}, {}),
        E=None,
        card={
            "jaxrec": "benchmark",
            "row": "pmf",
            "label": "made factors",
            "encoder": None,
            "data": data,
            "experiment": {"figures": {"pmf": none}, "protocol": protocol},
        },
    )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--rate", default=300, help="Requests a second of known users.")
@click.option("--new-rate", default=30, help="Requests a second of somebody new.")
@click.option("--seconds", default=60, help="Of each kind.")
@click.option("--liked", default=8, help="Items that somebody new likes.")
@click.option("--reload", is_flag=True, help="Send SIGHUP a third into the load.")
@click.option("--large", is_flag=True, help="Make the FOLDER first, of 138,493 x 26,744.")
def main(
    folder: Path, rate: int, new_rate: int, seconds: int, liked: int, reload: bool, large: bool
) -> None:
    """Load a server of the model FOLDER."""
    if large and not folder.exists():
        write_model(folder, large_model())
    model, rng = read_model(folder), np.random.default_rng(0)
    drawn = rng.choice(model.user_ids.names, 50_000).tolist()
    names = model.catalogue.ids.names[model.item_counts > 0]
    somebody = [{"liked": rng.choice(names, liked, replace=False).tolist()} for _ in range(5_000)]
    result: dict[str, Any] = {"model_bytes": bytes_of(model)}
    del model
    with tempfile.TemporaryDirectory() as place:
        script, users, new = (Path(place) / name for name in ("ask.lua", "users", "new"))
        script.write_text(LUA)
        users.write_text("".join(f"/users/{user}/recommendations\n" for user in drawn))
        new.write_text("".join(json.dumps(body) + "\n" for body in somebody))
        server, ended = Server(folder, Path(place) / "log"), Event()
        try:
            result["start_s"] = server.until(lambda health: health["ready"])
            Thread(target=server.watch, args=(ended,), daemon=True).start()
            result["rss_start"] = server.memory()
            for kind, lines, of in (("known", users, rate), ("new", new, new_rate)):
                if not of:
                    continue
                if reload:
                    signal_later(server.process, seconds / 3)
                before = server.memory()
                result[kind] = load(server, lines, of, seconds, script)
                result[kind] |= {"rss_before": before, "rss_after": server.memory()}
                print(f"{kind}: {json.dumps(result[kind])}", flush=True)
            with urlopen(f"{server.url}/health") as answer:
                result["generation"] = json.load(answer)["generation"]
        finally:
            ended.set()
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(60)
    result |= {"rss_most": server.most, "rss_over_model": server.most / result["model_bytes"]}
    print(json.dumps({"measure": "serve_load"} | result | {"machine": machine()}))


def signal_later(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Tell a server to take its folder anew, a while from now."""

    def send() -> None:
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGHUP)

    Thread(target=send, daemon=True).start()


if __name__ == "__main__":
    main()
