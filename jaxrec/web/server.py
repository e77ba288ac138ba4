"""The process: a port, a warm model, signals."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from threadpoolctl import threadpool_limits

from jaxrec.errors import InputError
from jaxrec.web.batches import Worker
from jaxrec.web.guard import Guard, Rules
from jaxrec.web.meters import LOG, Metered, Meters
from jaxrec.web.pages.docs import add_docs
from jaxrec.web.pages.explore import FILES, add_explore
from jaxrec.web.ready import Ready
from jaxrec.web.routes import Service, application

PATIENCE = 30
"""Seconds that what is under way has when the server is to end."""
KEEP_ALIVE = 75
"""Seconds that an idle connection is kept: longer than by proxies, which may ask as it closes."""


def serving(path: Path, ready: Ready) -> Service:
    """A model that is warm, and the thread that answers by it."""
    meters = Meters()
    worker = Worker(meters.batches.observe)
    for step in ready.warm_up():
        worker.call(step).result()
    return Service(path, ready, worker, meters)


def guarded(service: Service, rules: Rules) -> ASGIApp:
    """The whole application."""
    app = application(service)
    add_explore(app, service)
    add_docs(app)
    return Metered(Guard(app, rules, FILES), service.meters)


def serve(path: Path, host: str, port: int, rules: Rules, tell: Callable[[str], None]) -> None:
    """Answer until SIGTERM or SIGINT; SIGHUP takes the model folder anew.

    Args:
        path: of the model folder.
        host: to listen on.
        port: to listen on; 0 for one that is free.
        rules: who may ask; see `jaxrec.web.guard.rules`.
        tell: of where it listens.

    Raises:
        InputError: the port cannot be had, or the model folder not be read.
    """
    with _bound(host, port) as listener:
        service = serving(path, Ready.read(path))
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
        LOG.setLevel(logging.INFO)
        config = uvicorn.Config(
            guarded(service, rules),
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=PATIENCE,
            timeout_keep_alive=KEEP_ALIVE,
        )
        port = listener.getsockname()[1]
        here = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        tell(f"{path}: {here} to explore, routes at /docs")
        # BLAS's idle threads would spin on the cores that the event loop and XLA need
        with (
            suppress(KeyboardInterrupt),
            threadpool_limits(1),
            asyncio.Runner(loop_factory=config.get_loop_factory()) as runner,
        ):
            runner.run(_until_told(uvicorn.Server(config), listener, service))
        service.worker.close()


async def _until_told(server: uvicorn.Server, listener: socket.socket, service: Service) -> None:
    reloads = set[asyncio.Task[None]]()

    def reload() -> None:
        reloads.add(task := asyncio.create_task(service.reload()))
        task.add_done_callback(reloads.discard)

    if hasattr(signal, "SIGHUP"):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)

    def end(*_: object) -> None:
        server.should_exit = True

    # before uvicorn listens to them, and when all is done: it raises the one that ended it again
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    await server.serve(sockets=[listener])


def _bound(host: str, port: int) -> socket.socket:
    """Not listening yet: whoever asks before the model is warm is refused, and may ask again."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        family, kind, protocol, _, address = found
        # asyncio sends what is small at once (TCP_NODELAY) only if the socket names its protocol
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise InputError(f"--host {host} --port {port}: {error.strerror}; give another") from None
    return listener
