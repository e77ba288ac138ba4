"""What is answered."""

import numpy as np
import pytest
from starlette.testclient import TestClient

from jaxrec.serving.model import Wanted
from jaxrec.web.routes import Service


def test_a_known_user_gets_the_list_of_the_model(client: TestClient, service: Service) -> None:
    model = service.ready.model
    asked = client.get("/users/7/recommendations", params={"k": 5}).json()
    user = model.user_ids.positions(["7"])
    expected = model.recommend(model.asking(user), Wanted.best(5, service.ready.items))
    assert asked["recommended_by"] == "pmf+text"
    names = model.catalogue.ids.names[expected.items[0]].tolist()
    assert [place["item_id"] for place in asked["items"]] == names
    assert [place["score"] for place in asked["items"]] == pytest.approx(expected.scores[0], 1e-4)
    assert [place["rank"] for place in asked["items"]] == [1, 2, 3, 4, 5]


def test_a_known_users_list_is_made_once(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.ready, "remembered", {})
    first = client.get("/users/7/recommendations").json()
    monkeypatch.setattr(service, "worker", None)
    assert client.get("/users/7/recommendations", params={"k": 10}).json() == first
    assert client.get("/users/7/recommendations?k=4").json()["items"] == first["items"][:4]


def test_somebody_new_is_folded_in(client: TestClient, service: Service) -> None:
    model = service.ready.model
    title = model.catalogue.called(11)
    liked = [model.catalogue.ids.names[3].item(), title]
    asked = client.post("/recommendations", json={"liked": liked, "k": 4}).json()
    expected = model.recommend(model.somebody(np.array([3, 11])), Wanted.best(4, 200))
    names = model.catalogue.ids.names[expected.items[0]].tolist()
    assert [place["item_id"] for place in asked["items"]] == names


def test_who_likes_nothing_gets_what_strangers_get(client: TestClient, service: Service) -> None:
    asked = client.post("/recommendations", json={"liked": []}).json()
    assert asked["recommended_by"] == service.ready.model.strangers.kind
    assert len(asked["items"]) == 10


def test_what_is_excluded_makes_room_and_moves_no_score(client: TestClient) -> None:
    whole = client.get("/users/7/recommendations", params={"k": 6}).json()["items"]
    left_out = f"exclude={whole[0]['item_id']}&exclude={whole[3]['item_id']}"
    cut = client.get(f"/users/7/recommendations?k=4&{left_out}").json()["items"]
    kept = [whole[place] for place in (1, 2, 4, 5)]
    assert [place["item_id"] for place in cut] == [place["item_id"] for place in kept]
    assert [place["score"] for place in cut] == [place["score"] for place in kept]


def test_a_list_says_why(client: TestClient) -> None:
    asked = client.get("/users/7/recommendations", params={"k": 2, "explain": True}).json()
    for place in asked["items"]:
        assert [signal["signal"] for signal in place["why"]["signals"]] == ["pmf+text"]
        assert place["why"]["signals"][0]["part"] == pytest.approx(place["score"], abs=1e-3)
        assert len(place["why"]["known"]) == 3
    plain = client.get("/users/7/recommendations", params={"k": 2}).json()
    assert "why" not in plain["items"][0]


def test_similar_items_are_told_by_signal(client: TestClient, service: Service) -> None:
    name = service.ready.model.catalogue.ids.names[3].item()
    asked = client.get(f"/items/{name}/similar", params={"k": 3}).json()
    expected = service.ready.model.similar(3, 3)["pmf+text"].items[0]
    names = service.ready.model.catalogue.ids.names[expected].tolist()
    assert [place["item_id"] for place in asked["pmf+text"]] == names


def test_titles_are_completed(client: TestClient, service: Service) -> None:
    title = service.ready.model.catalogue.titles[3]
    beginnings = " ".join(word[:4].upper() for word in title.split())
    found = client.get("/items", params={"q": beginnings, "limit": 100}).json()
    assert title in [item["title"] for item in found]


def test_health_names_the_model(client: TestClient, service: Service) -> None:
    found = client.get("/health").json()
    assert found["ready"] is True
    assert (found["model"], found["row"]) == ("model", "pmf+text")
    assert found["sha256"] == service.ready.sha256 != ""


def test_metrics_count_requests_by_route_and_status(client: TestClient) -> None:
    client.get("/users/7/recommendations")
    client.get("/users/nobody/recommendations")
    text = client.get("/metrics").text
    for status in ("200", "404"):
        route = f'route="/users/{{user:path}}/recommendations",status="{status}"'
        assert f"jaxrec_requests_total{{{route}}}" in text
    assert "jaxrec_batch_requests_bucket" in text
    assert "jaxrec_model_generation 1.0" in text


def test_the_docs_need_no_other_host_and_no_script(client: TestClient) -> None:
    page = client.get("/docs").text
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in page
    assert "http" not in page
    assert "<script" not in page
    assert client.get("/docs.css").headers["content-type"].startswith("text/css")
