"""HTTP requests, given to the application as a server gives them: whatever the bytes were."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any
from urllib.parse import quote, unquote, urlencode

from jaxrec.web.guard import Rules
from jaxrec.web.routes import Service
from jaxrec.web.server import guarded
from tests.fuzz.drawing import READ, REFUSED, Attempt, changed, damaged, nested, text

PATHS = (
    "/users/{}/recommendations", "/items/{}/similar", "/items", "/recommendations", "/explore",
    "/explore/why", "/health", "/metrics", "/docs", "/openapi.json", "/", "/explore.js", "/{}",
    "/users/{}", "/items/{}",
)  # fmt: skip
BODIES: tuple[dict[str, Any], ...] = (
    {"liked": [3, "4"], "k": 5, "exclude": ["7"], "explain": True},
    {"liked": [3, 5, 8], "weights": {"pmf": 0.5}, "gate": True, "k": 5, "views": ["model"]},
    {"liked": [3, 5], "item": 7, "view": "model", "weights": {}, "gate": False},
)


class Failed(AssertionError):
    """A status that says that the server is at fault."""


@contextmanager
def of_service(service: Service) -> Iterator[Attempt]:
    """Of any method, path, query, headers and body."""
    app = guarded(service, Rules(rate=10**9))
    with asyncio.Runner() as runner:

        async def asked(scope: dict[str, Any], body: bytes, draw: Random) -> int:
            cut = draw.randrange(len(body) + 1)
            parts = [(body[:cut], True), (body[cut:], False)]
            status: list[int] = []
            answer = bytearray()

            async def receive() -> dict[str, Any]:
                if not parts:
                    return {"type": "http.disconnect"}
                part, more = parts.pop(0)
                return {"type": "http.request", "body": part, "more_body": more}

            async def send(message: Any) -> None:
                if message["type"] == "http.response.start":
                    status.append(message["status"])
                answer.extend(message.get("body", b""))

            await app(scope, receive, send)
            if status[0] >= 500:
                raise Failed(f"{status[0]}: {answer[:200]!r}")
            if status[0] >= 400:
                assert {"detail", "remedy"} <= json.loads(answer).keys()
            return status[0]

        def attempt(draw: Random) -> str:
            scope, body = request(draw)
            return READ if runner.run(asked(scope, body, draw)) < 400 else REFUSED

        yield attempt


def request(draw: Random) -> tuple[dict[str, Any], bytes]:
    """What uvicorn makes of a request, and its body."""
    names = draw.choice((str(draw.randrange(120)), text(draw), "7", "3"))
    raw = draw.choice(PATHS).replace("{}", quote(names, safe=draw.choice(("", "/"))))
    if draw.random() < 0.1:
        raw += "%" + draw.choice(("00", "ff", "zz", "2", "c3%28", "0a", "2e%2e/"))
    pairs = [
        (draw.choice(("k", "exclude", "explain", "q", "limit", text(draw))), _value(draw))
        for _ in range(draw.randrange(4))
    ]
    query = urlencode(pairs, errors="replace").encode()
    if draw.random() < 0.1:
        query = damaged(draw, query + draw.randbytes(draw.choice((0, 1, 4))))
    body = b""
    post = ("explore" in raw and ".js" not in raw) or raw == "/recommendations"
    if post or draw.random() < 0.1:
        body = _body(draw)
    headers = [(b"host", draw.choice((b"127.0.0.1", b"127.0.0.1", b"localhost:80")))]
    headers += [(b"content-type", b"application/json")] * (draw.random() < 0.9)
    for _ in range(draw.choice((0, 0, 0, 1, 2))):
        headers.append(_header(draw))
    methods = ("POST",) * 8 if post else ("GET",) * 8
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": draw.choice((*methods, "GET", "POST", "HEAD", "OPTIONS", "DELETE", "X")),
        "scheme": "http",
        "path": unquote(raw),
        "raw_path": raw.encode("ascii", "replace"),
        "root_path": "",
        "query_string": query,
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    return scope, body


def _value(draw: Random) -> str:
    return draw.choice((text(draw), str(draw.randrange(-2, 1100)), "5", "true"))


def _body(draw: Random) -> bytes:
    if draw.random() < 0.03:
        return nested(draw).encode()
    if draw.random() < 0.02:
        return b'{"liked": [' + b"9" * draw.choice((400, 5000)) + b"]}"
    content: Any = draw.choice(BODIES)
    for _ in range(draw.choice((0, 1, 1, 2))):
        content = changed(draw, content)
    found = json.dumps(content).encode()
    if draw.random() < 0.05:
        found = found.replace(b'"4"', rb'"\ud800"').replace(b"3", rb'"\udc00x"')
    return damaged(draw, found) if draw.random() < 0.2 else found


def _header(draw: Random) -> tuple[bytes, bytes]:
    name = draw.choice(
        (b"content-length", b"host", b"authorization", b"x-request-id", b"content-type", b"accept",
         b"accept-encoding", b"origin", b"content-encoding", b"range", b"if-none-match")
    )  # fmt: skip
    value = draw.choice((text(draw).encode("latin-1", "replace"), draw.randbytes(4), b"\xb2", b"5"))
    return name, value.replace(b"\r", b"").replace(b"\n", b"")
