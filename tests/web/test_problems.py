"""Each way to be refused."""

import logging

import pytest
from starlette.testclient import TestClient

from jaxrec.web.guard import MOST_BYTES, Rules
from jaxrec.web.routes import Service
from tests.fuzz.requests import of_service
from tests.fuzz.test_fuzz import tried
from tests.web.conftest import client_of


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/users/nobody/recommendations", 404, "no user 'nobody'"),
        ("/items/nix/similar", 404, "no item 'nix'"),
        ("/users/7/recommendations?exclude=nix", 404, "no item 'nix'"),
        ("/nowhere", 404, "Not Found"),
        ("/recommendations", 405, "Method Not Allowed"),
        ("/users/7/recommendations?k=1001", 422, "query.k"),
        ("/users/7/recommendations?k=51&explain=1", 422, "k is 51"),
        ("/users/7/recommendations?excluded=3", 422, "query.excluded"),
        ("/items/3/similar?limit=3", 422, "query.limit"),
        ("/items?query=a", 422, "query.query"),
    ],
)
def test_a_problem_has_one_form(client: TestClient, path: str, status: int, detail: str) -> None:
    response = client.get(path)
    problem = response.json()
    assert response.status_code == problem["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert detail in problem["detail"]
    assert problem["title"]
    assert problem["remedy"]


def test_an_unknown_item_has_close_titles(client: TestClient, service: Service) -> None:
    title = service.ready.model.catalogue.titles[3]
    first, *rest = title.split()
    typo = " ".join([first, *rest[:-1], "zzz"])
    assert title in client.get(f"/items/{typo}/similar").json()["close"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{}",
        b'{"liked": [3], "more": 1}',
        b'{"liked": [true]}',
        b'{"liked": [' + b"3," * 1000 + b"3]}",
    ],
)
def test_a_body_that_is_not_understood_is_told_where(client: TestClient, body: bytes) -> None:
    response = client.post(
        "/recommendations", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 422
    assert response.json()["errors"][0]["where"].startswith("body")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/users/7/recommendations?k=1&k=2", "k"),
        ("/users/7/recommendations?k=1&explain=true&explain=false", "explain"),
        ("/items/7/similar?k=1&%6B=1", "k"),
        ("/items?q=a&limit=2&q=b", "q"),
        ("/items?limit=2&limit=2", "limit"),
    ],
)
def test_a_parameter_that_is_repeated_is_refused(client: TestClient, path: str, name: str) -> None:
    answer = client.get(path)
    told = f"'{name}' is there more than once"
    assert (answer.status_code, answer.json()["detail"]) == (400, told)


@pytest.mark.parametrize("path", ["/recommendations", "/explore", "/explore/why"])
def test_a_body_says_all_once(client: TestClient, path: str) -> None:
    body = b'{"liked": [], "k": 2, "k": 3, "weights": {"a": 1, "a": 2}}'
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, "more than once" in answer.json()["detail"]) == (400, True)
    answer = client.post(f"{path}?k=2", json={"liked": []})
    assert (answer.status_code, answer.json()["remedy"]) == (400, "send all in the body")
    assert client.post(path, content=b"{", headers={"Content-Type": "a/b"}).status_code == 422


def test_a_body_is_bounded_whether_it_says_its_length_or_not(client: TestClient) -> None:
    large = b" " * (MOST_BYTES + 1)
    assert client.post("/recommendations", content=large).status_code == 413
    response = client.post("/recommendations", content=iter([large[:-9], large[-9:]]))
    assert response.status_code == 413
    assert response.json()["remedy"] == "send fewer items"


def test_a_client_that_asks_too_often_is_told_when_to_come_back(service: Service) -> None:
    client = client_of(service, Rules(rate=2))
    found = [client.get("/health") for _ in range(4)]
    assert [response.status_code for response in found[:2]] == [200, 200]
    assert found[-1].status_code == 429
    assert found[-1].headers["Retry-After"] == "1"


@pytest.mark.timeout(300)
def test_any_request_is_answered_or_refused(hybrid: Service) -> None:
    """Never by a status 5xx; see `tests/fuzz`."""
    with of_service(hybrid) as attempt:
        tried(attempt, 150)


@pytest.mark.parametrize("length", ["²", "9" * 5000, "-1", "1 "])
def test_a_length_that_is_no_number_is_refused(client: TestClient, length: str) -> None:
    sent = {b"Content-Length": length.encode("latin-1")}
    assert client.post("/recommendations", headers=sent).status_code == 413


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_is_logged_under_an_id_and_not_shown(
    client: TestClient,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("secret")

    monkeypatch.setattr(service.ready.titles, "starting", broken)
    with caplog.at_level(logging.ERROR, "jaxrec.web"):
        response = client.get("/items", headers={"X-Request-ID": "mine"})
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "secret" not in response.text
    assert response.headers["X-Request-ID"] == "mine"
    assert "mine failed" in caplog.text
