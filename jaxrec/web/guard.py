"""Who may ask, how much and how often; around the application, before anything is parsed."""

import asyncio
import re
import secrets
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from time import monotonic

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jaxrec.errors import InputError
from jaxrec.web.problems import Problem

MOST_BYTES = 2**20
"""Of a body."""
BODY_SECONDS = 10
MOST_CLIENTS = 10_000
"""Whose rates are remembered; the one that was silent longest is forgotten first."""
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none';"
    " form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Rules:
    """What a server was started with."""

    loopback: bool = True
    """Is it heard on this machine alone?"""
    token: str | None = None
    rate: int = 100
    """Requests of a client in a second."""


def rules(host: str, token: str | None, rate: int) -> Rules:
    """Of a server that is to listen on `host`.

    Raises:
        InputError: others could ask, and there is no token; or it is one that no header carries.
    """
    if token and not re.fullmatch(r"[!-~]+", token):
        raise InputError(
            "the token has letters that no request can send; write it in ASCII without blanks, as"
            " `openssl rand -hex 32` does"
        )
    loopback = _is_loopback(host)
    if not loopback and not token:
        raise InputError(
            f"--host {host} can be reached from other machines, and needs a token; give"
            " --token-file FILE or JAXREC_TOKEN, or leave out --host"
        )
    return Rules(loopback, token, rate)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuses, or passes on with the body read."""

    def __init__(self, app: ASGIApp, rules: Rules, without_token: Collection[str] = ()):
        """`without_token` are paths at which no data are."""
        self.app, self.rules, self.without_token = app, rules, without_token
        self._allowances: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY)
            await send(message)

        try:
            headers = Headers(scope=scope)
            self._check_host(headers.get("host", ""))
            self._check_rate((scope.get("client") or ("", 0))[0])
            if scope["path"] not in self.without_token:
                self._check_token(headers.get("authorization", ""))
            if not scope["query_string"].isascii():
                raise Problem(400, "the query has bytes that no URL has", "percent-encode them")
            body = await _read(headers, receive)
        except Problem as problem:
            await problem.response()(scope, receive, send_secured)
            return
        except _Gone:
            return
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        await self.app(scope, replay, send_secured)

    def _check_host(self, host: str) -> None:
        """A page elsewhere whose name was bound to this machine still names itself here."""
        name = host[: host.rindex("]") + 1] if "]" in host else host.partition(":")[0]
        if self.rules.loopback and not _is_loopback(name.strip("[]")):
            raise Problem(
                421, f"{name or 'nobody'} is not served here", "ask for 127.0.0.1 or localhost"
            )

    def _check_rate(self, client: str) -> None:
        """A bucket that holds a second's requests, and fills as time goes by."""
        now, rate = monotonic(), self.rules.rate
        left, since = self._allowances.pop(client, (float(rate), now))
        left = min(left + (now - since) * rate, rate)
        self._allowances[client] = (max(left - 1, 0) if left >= 1 else left), now
        if len(self._allowances) > MOST_CLIENTS:
            self._allowances.popitem(last=False)
        if left < 1:
            raise Problem(
                429, f"more than {rate} requests in a second", "ask less often", retry_after=1
            )

    def _check_token(self, authorization: str) -> None:
        right = f"Bearer {self.rules.token}"
        if self.rules.token is not None and not secrets.compare_digest(
            authorization.encode(), right.encode()
        ):
            raise Problem(
                401, "no token, or another one", "send the header Authorization: Bearer TOKEN"
            )


class _Gone(Exception):
    """The client has left."""


async def _read(headers: Headers, receive: Receive) -> bytes:
    """The whole body, which is small."""
    too_large = Problem(413, f"a body of more than {MOST_BYTES:,} bytes", "send fewer items")
    length = headers.get("content-length", "0")
    if not re.fullmatch("[0-9]{1,9}", length) or int(length) > MOST_BYTES:
        raise too_large
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Gone
                body += message.get("body", b"")
                if len(body) > MOST_BYTES:
                    raise too_large
                if not message.get("more_body", False):
                    return body
    except TimeoutError:
        raise Problem(408, f"no whole body in {BODY_SECONDS} s", "send it at once") from None
