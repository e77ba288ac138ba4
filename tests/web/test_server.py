"""A real process: signals, the port, what is refused at the start."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from time import monotonic, sleep
from typing import Any

import httpx2
import pytest
import uvicorn
from click.testing import CliRunner

import cli
from jaxrec.web.guard import Rules
from jaxrec.web.ready import dated
from jaxrec.web.routes import Service
from jaxrec.web.server import _bound, _until_told, guarded
from tests.faults.deaths import tree
from tests.faults.served import ASKED, Asking, answer


def asked(url: str, until: Any, seconds: float = 120) -> Any:
    """What GET answers, once it is as it should be."""
    end = monotonic() + seconds
    while True:
        try:
            found = httpx2.get(url).json()
            if until(found):
                return found
        except httpx2.TransportError:
            pass
        assert monotonic() < end, "the server does not come to answer so"
        sleep(0.2)


@contextmanager
def served(model: Path, told: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """A server that answers, and where; it is ended at last."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jaxrec.cli", "serve", "--model", str(model)]
    with told.open("w") as log:  # a pipe that nobody reads would fill up
        process = subprocess.Popen([*command, "--port", str(port)], stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        asked(f"{url}/health", lambda health: health["generation"] == 1)
        yield process, url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def test_a_model_is_taken_anew_and_a_bad_one_is_not(folder: Path, tmp_path: Path) -> None:
    model, told = copytree(folder, tmp_path / "model"), tmp_path / "log"
    with served(model, told) as (process, url):
        process.send_signal(signal.SIGHUP)
        while asked(f"{url}/health", lambda _: True)["generation"] == 1:
            assert httpx2.get(f"{url}/users/7/recommendations").status_code == 200
        (model / "users.parquet").write_bytes(b"damaged")
        process.send_signal(signal.SIGHUP)
        sleep(1)
        assert asked(f"{url}/health", lambda _: True)["generation"] == 2
        assert httpx2.get(f"{url}/users/7/recommendations").status_code == 200
    assert process.returncode == 0
    assert told.read_text().count("the old model stays") == 1
    assert "Traceback" not in told.read_text()


def test_a_killed_server_leaves_its_folder_and_another_answers_the_same(
    folder: Path, tmp_path: Path
) -> None:
    model, found = copytree(folder, tmp_path / "model"), []
    for number, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 0)):
        with served(model, tmp_path / "log") as (process, url):
            found.append({path: answer(url, path) for path in ASKED})
            asking = Asking(url, found[0])
            while asking.answered < 5:
                sleep(0.01)
            process.send_signal(signal.SIGHUP)
            process.send_signal(number)
            asking.join()
            assert process.wait(timeout=60) == status
        assert asking.wrong == []
    assert found[0] == found[1]
    assert tree(model) == tree(folder)


@pytest.mark.timeout(120)
def test_a_server_ends_that_is_told_to_before_it_listens_to_signals(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Told(uvicorn.Server):
        async def serve(self, sockets: list[socket.socket] | None = None) -> None:
            signal.raise_signal(signal.SIGTERM)
            await super().serve(sockets)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _bound("127.0.0.1", 0) as listener:
            server = Told(uvicorn.Config(guarded(service, Rules()), log_config=None))
            asyncio.run(_until_told(server, listener, service))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_what_is_small_is_sent_at_once() -> None:
    with _bound("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP  # else asyncio leaves Nagle's algorithm on


def test_what_cannot_be_served_is_one_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for more, message in (
            (["--host", "0.0.0.0"], "needs a token; give --token-file FILE or JAXREC_TOKEN"),
            (["--token-file", tmp_path / "empty"], "is empty; write a token into it"),
            (["--port", port], "Address already in use; give another"),
            (["--port", 0, "--model", tmp_path], "is no model folder; `jaxrec fit"),
        ):
            arguments = ["serve", "--model", str(folder), *map(str, more)]
            result = CliRunner().invoke(cli.main, arguments, env={"JAXREC_TOKEN": ""})
            assert result.exit_code == 2, result.output
            assert message in result.output


def test_what_is_not_installed_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("jaxrec.web.guard", "jaxrec.web.server"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = CliRunner().invoke(cli.main, ["serve", "--model", str(folder)])
    assert result.exit_code == 2
    assert "pip install 'jaxrec[serve]'" in result.output


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "1970-01-01T00:00:00+00:00"), (-1, "1969-12-31T23:59:59+00:00"), (3e11, ""), (-1e12, ""),
     (1e30, "")],
)  # fmt: skip
def test_a_model_may_be_of_any_date(seconds: float, told: str) -> None:
    assert dated(seconds) == told
