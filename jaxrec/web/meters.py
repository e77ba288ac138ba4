"""What is counted for Prometheus, and the line that is logged of every request."""

import logging
import re
import secrets
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jaxrec.web.problems import BROKEN

LOG = logging.getLogger("jaxrec.web")
GIVEN = re.compile(r"[\w-]{1,64}", re.ASCII)
"""A request id that is taken over."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Meters:
    """Of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "jaxrec_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "jaxrec_request_seconds", "Latency.", ["route"], buckets=SECONDS, registry=registry
        )
        self.batches = Histogram(
            "jaxrec_batch_requests",
            "Requests answered by one compiled call.",
            buckets=(1, 2, 4, 8, 16, 32, 63),
            registry=registry,
        )
        self.generation = Gauge(
            "jaxrec_model_generation",
            "Models that were taken since the server began.",
            registry=registry,
        )

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self._registry)


class Metered:
    """The outermost application: gives each request an id, counts, logs, and hides mistakes."""

    def __init__(self, app: ASGIApp, meters: Meters):
        self.app, self.meters = app, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if GIVEN.fullmatch(given) else secrets.token_hex(8)
        began, status = perf_counter(), 0

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_counted)
        except Exception:
            LOG.exception("%s failed", request_id)
            if not status:
                await BROKEN.response()(scope, receive, send_counted)
        took = perf_counter() - began
        route = getattr(scope.get("route"), "path", "none")
        self.meters.requests.labels(route, str(status)).inc()
        self.meters.seconds.labels(route).observe(took)
        path = scope.get("raw_path", b"").decode("ascii", "replace")
        LOG.info("%s %s %s %d %.1f ms", request_id, scope["method"], path, status, 1000 * took)
