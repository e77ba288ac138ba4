"""Who may ask."""

import asyncio
import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from jaxrec.errors import InputError
from jaxrec.web.guard import Rules, rules
from jaxrec.web.routes import Service
from jaxrec.web.server import guarded
from tests.web.conftest import client_of


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("http://localhost:8000", 200),
        ("http://[::1]:8000", 200),
        ("http://evil.example", 421),
        ("http://127.0.0.1.evil.example", 421),
    ],
)
def test_on_loopback_the_host_is_checked(service: Service, host: str, status: int) -> None:
    assert client_of(service, Rules(), host).get("/health").status_code == status


def test_a_token_is_asked_for_everywhere(service: Service) -> None:
    client = client_of(service, Rules(loopback=False, token="right"), "http://some.example")
    assert client.get("/health").status_code == 401
    wrong = client.get("/docs", headers={"Authorization": "Bearer wrong"})
    assert wrong.status_code == 401
    assert wrong.headers["WWW-Authenticate"] == "Bearer"
    bare = client.get("/docs", headers={"Authorization": "right"})
    assert bare.status_code == 401
    right = client.get("/health", headers={"Authorization": "Bearer right"})
    assert right.status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "some.example"])
def test_other_machines_need_a_token(host: str) -> None:
    with pytest.raises(InputError, match="needs a token; give --token-file"):
        rules(host, None, 100)
    assert not rules(host, "secret", 100).loopback


@pytest.mark.parametrize("token", ["ключ", "clé", "two words", "\N{REPLACEMENT CHARACTER}"])
def test_a_token_that_no_header_carries_is_refused(token: str) -> None:
    with pytest.raises(InputError, match="the token has letters that no request can send"):
        rules("127.0.0.1", token, 100)


@pytest.mark.parametrize("path", ["/docs", "/health", "/nowhere"])
def test_every_answer_is_secured(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_a_query_of_bytes_that_no_url_has_is_refused(service: Service) -> None:
    """No client of ours sends them; what a server is sent is not up to it."""
    app = guarded(service, Rules())
    sent: list[Any] = []
    scope = {
        "type": "http", "method": "GET", "path": "/items", "raw_path": b"/items",
        "root_path": "", "query_string": "q=caf\xe9".encode(), "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"127.0.0.1")], "scheme": "http", "http_version": "1.1",
    }  # fmt: skip

    async def nothing() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask() -> None:
        await app(scope, nothing, send)

    asyncio.run(ask())
    assert sent[0]["status"] == 400
    problem = json.loads(sent[1]["body"])
    assert problem["detail"] == "the query has bytes that no URL has"
    assert problem["remedy"] == "percent-encode them"


@pytest.mark.parametrize(
    "letters", ["%C3%A9t%C3%A9", "%FF", "%F0%9F%91%A9", "\N{CYRILLIC SMALL LETTER A}"]
)
def test_a_query_of_other_letters_is_answered(client: TestClient, letters: str) -> None:
    """Percent-encoded, as a client does it; bytes that are no letters, too."""
    response = client.get(f"/items?q=a+{letters}&limit=3")
    assert response.status_code == 200
    assert isinstance(response.json(), list)
