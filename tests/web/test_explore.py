"""What the page on which one explores is answered."""

import re
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from jaxrec.serving.model import Wanted
from jaxrec.topk import ranking
from jaxrec.web.guard import Rules
from jaxrec.web.pages.explore import FILES
from jaxrec.web.routes import Service
from tests.web.conftest import client_of, served
from tests.web.tasted import made

SOME = {"model", "factors", "texts"}


@pytest.fixture
def asked(hybrid: Service) -> TestClient:
    return client_of(hybrid, Rules(rate=1_000))


def named(service: Service, *items: int) -> list[Any]:
    return service.ready.model.catalogue.ids.names[list(items)].tolist()


def explored(client: TestClient, liked: list[Any], **more: Any) -> dict[str, Any]:
    answer = client.post("/explore", json={"liked": liked, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def by_view(found: dict[str, Any]) -> dict[str, Any]:
    return {seen["view"]: seen for seen in found["views"]}


def learned(found: dict[str, Any]) -> dict[str, float]:
    return {of["signal"]: of["learned"] for of in found["signals"]}


def why(client: TestClient, liked: list[Any], item: Any, **more: Any) -> dict[str, Any]:
    return client.post("/explore/why", json={"liked": liked, "item": item, **more}).json()


def test_by_the_models_own_weights_the_list_is_the_models_own(
    asked: TestClient, hybrid: Service
) -> None:
    liked = named(hybrid, 3, 11, 40)
    own = asked.post("/recommendations", json={"liked": liked}).json()
    found = explored(asked, liked)
    assert by_view(found)["model"]["items"] == own["items"]
    assert by_view(found)["model"]["recommended_by"] == "hybrid"
    said = explored(asked, liked, weights=learned(found))  # and so they are if they are told
    assert by_view(said)["model"]["items"] == own["items"]


def test_factors_and_texts_answer_alone(asked: TestClient, hybrid: Service) -> None:
    model, liked = hybrid.ready.model, [3, 11, 40]
    found = by_view(explored(asked, named(hybrid, *liked)))
    assert found.keys() == SOME
    assert (found["factors"]["row"], found["texts"]["row"]) == ("pmf", "content")

    plain = made(("pmf",)).recommend(model.somebody(np.array(liked)), Wanted.best(10, 200))
    assert [place["item_id"] for place in found["factors"]["items"]] == named(
        hybrid, *plain.items[0]
    )
    features = model.space.features(model.catalogue, model.E, 1.0).astype(float)
    features -= features.mean(axis=0)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    profile = features[liked].sum(axis=0)
    cosines = features @ profile / np.linalg.norm(profile)
    cosines[liked] = -np.inf
    best = np.argsort(-cosines)[:10]
    assert [place["item_id"] for place in found["texts"]["items"]] == named(hybrid, *best)
    scores = [place["score"] for place in found["texts"]["items"]]
    assert scores == pytest.approx(cosines[best], abs=1e-5)


def test_a_moved_weight_counts_for_what_it_is_moved_by(asked: TestClient, hybrid: Service) -> None:
    liked, (item,) = named(hybrid, 3, 11, 40), named(hybrid, 70)
    own = learned(explored(asked, liked))
    before = why(asked, liked, item)
    after = why(asked, liked, item, weights={"rp3beta": own["rp3beta"] + 0.5})
    z = {of["signal"]: of["standardised"] for of in before["signals"]}
    assert abs(z["rp3beta"]) > 0.1
    assert after["score"] - before["score"] == pytest.approx(0.5 * z["rp3beta"], abs=1e-4)


def test_what_a_gate_learned_is_told_as_its_mean_and_ends(
    asked: TestClient, hybrid: Service
) -> None:
    liked = named(hybrid, 3, 11, 40)
    found = explored(asked, liked)
    assert found["gate"] is True
    others = np.setdiff1d(np.arange(200), [3, 11, 40])
    model = hybrid.ready.model
    each = model.explain(model.somebody(np.array([3, 11, 40])), others)
    weights = {
        of["signal"]: [one.signals[place].weight for one in each]
        for place, of in enumerate(found["signals"])
    }
    for of in found["signals"]:
        own = weights[of["signal"]]
        told = of["learned"], of["least"], of["most"]
        assert told == pytest.approx((np.mean(own), min(own), max(own)), abs=1e-4)


def test_without_the_gate_weights_alone_count(asked: TestClient, hybrid: Service) -> None:
    liked, (item,) = named(hybrid, 3, 11, 40), named(hybrid, 70)
    weights = {"pmf+text": 0.25, "text": 0.5, "rp3beta": 0.0}
    found = why(asked, liked, item, weights=weights, gate=False)
    z = {of["signal"]: of["standardised"] for of in found["signals"]}
    assert found["of_familiarity"] == 0
    whole = sum(weights[name] * z[name] for name in weights)
    assert found["score"] == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize("view", sorted(SOME))
def test_why_adds_up_to_the_score_that_is_shown(
    asked: TestClient, hybrid: Service, view: str
) -> None:
    liked, how = named(hybrid, 3, 11, 40), {"weights": {"text": 0.9}}
    shown = by_view(explored(asked, liked, **how))[view]["items"][4]
    found = why(asked, liked, shown["item_id"], view=view, **how)
    assert found["rank"] == 5
    assert found["score"] == pytest.approx(shown["score"], abs=1e-4)
    signals = sum(of["part"] for of in found["signals"]) + found["of_familiarity"]
    assert signals == pytest.approx(shown["score"], abs=1e-3)
    known = sum(item["part"] for item in found["known"])
    rest = sum(of["of_item"] + of["of_mean"] + of["rest"] for of in found["signals"])
    assert known + rest + found["of_familiarity"] == pytest.approx(shown["score"], abs=1e-3)
    assert [item["item_id"] for item in found["known"]] != []


def test_only_the_views_that_are_asked_for_are_listed(asked: TestClient, hybrid: Service) -> None:
    found = explored(asked, named(hybrid, 3), views=["texts"])
    assert by_view(found).keys() == {"texts"}


def test_nothing_is_compiled_for_a_taste(asked: TestClient, hybrid: Service) -> None:
    programs: Any = ranking._rank_unseen
    before = programs._cache_size()
    for n in (1, 4, 9):
        explored(asked, named(hybrid, *range(n)), k=50, weights={"text": n / 10}, gate=n > 4)
    assert programs._cache_size() == before


def test_who_likes_nothing_gets_what_strangers_get(asked: TestClient, hybrid: Service) -> None:
    for seen in explored(asked, [])["views"]:
        assert seen["recommended_by"] == hybrid.ready.model.strangers.kind


@pytest.mark.parametrize(
    ("row", "views"), [("ease", {"model"}), ("pmf", {"model"}), ("pmf+text", {"model", "texts"})]
)
def test_a_row_by_itself_has_fewer_views(row: str, views: set[str]) -> None:
    with served(made((row,))) as service:
        client = client_of(service, Rules())
        liked = named(service, 3, 11)
        found = explored(client, liked)
        assert by_view(found).keys() == views
        own = client.post("/recommendations", json={"liked": liked}).json()
        assert by_view(found)["model"]["items"] == own["items"]
        assert (found["signals"], found["gate"]) == ([], False)
        refused = client.post("/explore", json={"liked": liked, "weights": {"pmf": 1}})
        assert (refused.status_code, refused.json()["remedy"]) == (422, "leave out weights")
        refused = client.post(
            "/explore/why", json={"liked": liked, "item": liked[0], "view": "factors"}
        )
        assert refused.status_code == 422
        assert "has no view factors" in refused.json()["detail"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": {"nonsense": 1}},
        {"weights": {"text": 1e9}},
        {"liked": ["1"] * 101},
        {"k": 51},
        {"views": ["nonsense"]},
    ],
)
def test_sizes_and_names_are_bounded(asked: TestClient, wrong: dict[str, Any]) -> None:
    assert asked.post("/explore", json={"liked": ["1"], **wrong}).status_code == 422


def test_the_page_is_there_without_a_token_and_its_data_are_not(hybrid: Service) -> None:
    client = client_of(hybrid, Rules(loopback=False, token="right"), "http://some.example")
    for path in FILES:
        answer = client.get(path)
        assert answer.status_code == 200, path
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
    for path in ("/items", "/health", "/docs", "/openapi.json"):
        assert client.get(path).status_code == 401
    for path in ("/explore", "/explore/why"):
        assert client.post(path, json={"liked": []}).status_code == 401


def test_the_page_has_nothing_inline_and_no_other_host(asked: TestClient) -> None:
    page = asked.get("/").text
    assert not re.search(r"<style|style=| on\w+=|<script>|javascript:|https?:|//", page)
    script = asked.get("/explore.js").text
    assert not re.search(r"(inner|outer|Adjacent)HTML|document\.write|eval\(|https?:", script)
