"""The page on which one explores, in a real browser, with keys alone where that is asked."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Thread
from time import sleep
from typing import Any

import pytest
import uvicorn

from jaxrec.web.guard import Rules
from jaxrec.web.routes import Service
from jaxrec.web.server import guarded
from tests.web.conftest import client_of, served
from tests.web.tasted import MARKUP, made

api = pytest.importorskip("playwright.sync_api", reason="a browser: pip install 'jaxrec[dev]'")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe: the same")
expect = api.expect
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="a browser: apt-get install chromium, or set CHROMIUM to its path"
)
ALONE = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 30_000
"""Milliseconds; no test of a page that works waits so long."""
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ALONE)
        yield launched
        launched.close()


@contextmanager
def listening(service: Service, rules: Rules) -> Iterator[str]:
    """The address of a server in a thread."""
    config = uvicorn.Config(guarded(service, rules), port=0, log_config=None, ws="none")
    server = uvicorn.Server(config)
    thread = Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def here(hybrid: Service) -> Iterator[str]:
    with listening(hybrid, Rules(rate=1_000)) as address:
        yield address


@pytest.fixture(scope="module")
def guarded_here(hybrid: Service) -> Iterator[str]:
    with listening(hybrid, Rules(token="right", rate=1_000)) as address:
        yield address


class Visit:
    """A page, and all that it asked for and complained of."""

    def __init__(self, page: Any):
        self.page = page
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def titles(self, view: str) -> Any:
        """Where those are that are listed in one of the columns."""
        return self.page.locator(f"#lists section[aria-labelledby={view}-title] .title")

    def like(self, *titles: str) -> None:
        """By keys."""
        box = self.page.get_by_role("combobox", name="Add a title")
        for title in titles:
            box.press_sequentially(title)
            box.press("Enter")
            self.page.get_by_role("button", name=f"Remove {title}", exact=True).wait_for()


@pytest.fixture
def visit(browser: Any, here: str) -> Iterator[Visit]:
    context = browser.new_context()
    found = Visit(context.new_page())
    found.page.goto(here)
    yield found
    context.close()
    assert found.complaints == []
    assert [url for url in found.asked if not url.startswith(f"{here}/")] == []


@pytest.fixture
def liked(hybrid: Service) -> list[int]:
    return [3, 11, 40]


def called(service: Service, items: Iterable[int]) -> list[str]:
    titles = service.ready.model.catalogue.titles
    return [titles[item] for item in items]


def id_of(service: Service, item: int) -> Any:
    return service.ready.model.catalogue.ids.names[item].item()


def places(service: Service, liked: list[int], view: str = "model", **how: Any) -> list[Any]:
    """What the API lists."""
    names = service.ready.model.catalogue.ids.names[liked].tolist()
    client = client_of(service, Rules(rate=1_000))
    found = client.post("/explore", json={"liked": names, "views": [view], **how}).json()
    return found["views"][0]["items"]


def expected(service: Service, liked: list[int], view: str = "model", **how: Any) -> list[str]:
    """The titles of that."""
    return [place["title"] for place in places(service, liked, view, **how)]


def test_titles_are_completed_by_keys(visit: Visit, hybrid: Service) -> None:
    page, box = visit.page, visit.page.get_by_role("combobox", name="Add a title")
    first, second = called(hybrid, hybrid.ready.titles.starting("my", 2))
    box.press_sequentially("my")
    options = page.get_by_role("option")
    expect(options).to_have_count(8)
    expect(box).to_have_attribute("aria-expanded", "true")
    expect(page.locator("[aria-selected=true]")).to_have_text(first)
    box.press("ArrowDown")
    expect(page.locator("[aria-selected=true]")).to_have_text(second)
    selected = page.locator("[aria-selected=true]").get_attribute("id")
    expect(box).to_have_attribute("aria-activedescendant", selected)
    box.press("ArrowUp")
    box.press("ArrowUp")  # from the first to the last
    assert page.locator("[aria-selected=true]").get_attribute("id") == "option-7"
    box.press("Escape")
    expect(page.get_by_role("listbox", name="Titles")).to_be_hidden()
    expect(box).to_have_value("my")
    box.press("ArrowDown")
    expect(options).to_have_count(8)
    box.press("ArrowDown")
    box.press("Enter")
    expect(page.locator("#liked li span")).to_have_text([second])
    expect(box).to_have_value("")
    expect(box).to_be_focused()


def test_titles_are_chosen_by_a_pointer_and_left_by_keys(visit: Visit, hybrid: Service) -> None:
    page, box = visit.page, visit.page.get_by_role("combobox", name="Add a title")
    first, second = called(hybrid, hybrid.ready.titles.starting("my", 2))
    box.press_sequentially("my")
    page.get_by_role("option", name=second, exact=True).click()
    expect(page.locator("#liked li span")).to_have_text([second])
    expect(box).to_be_focused()
    box.press_sequentially("my")  # what is liked is offered no more
    expect(page.get_by_role("option")).to_have_count(8)
    assert second not in page.get_by_role("option").all_inner_texts()
    box.press("Tab")
    expect(page.get_by_role("listbox", name="Titles")).to_be_hidden()
    box.fill("zzz")
    expect(page.locator("#none")).to_have_text("no title with words that begin so: zzz")
    box.press("Escape")
    expect(box).to_have_value("")
    item = f"{{item_id: {id_of(hybrid, hybrid.ready.titles.starting(first, 1)[0])}, title: 'it'}}"
    page.evaluate(f"like({item}); like({item})")
    expect(page.locator("#liked li span")).to_have_text([second, "it"])


def test_what_is_well_known_is_offered_until_three_are_liked(visit: Visit, hybrid: Service) -> None:
    page, offered = visit.page, called(hybrid, hybrid.ready.titles.starting("", 8))
    buttons = page.locator("#well-known button")
    expect(buttons).to_have_text(offered)
    buttons.nth(1).press("Enter")
    left = [offered[0], *offered[2:]]
    expect(page.locator("#liked li span")).to_have_text([offered[1]])
    expect(buttons).to_have_text(left)
    expect(buttons.nth(1)).to_be_focused()
    buttons.nth(0).press("Enter")
    buttons.nth(0).press("Enter")
    expect(page.locator("#known")).to_be_hidden()
    expect(page.get_by_role("combobox", name="Add a title")).to_be_focused()


def test_what_happens_is_said(visit: Visit, hybrid: Service, liked: list[int]) -> None:
    page, titles = visit.page, called(hybrid, liked)
    page.evaluate(
        "window.told = []; new MutationObserver(() => told.push(document.getElementById('said')"
        ".textContent)).observe(document.getElementById('said'), {childList: true})"
    )
    visit.like(*titles)
    page.get_by_role("combobox", name="Add a title").press_sequentially("my")
    expect(page.locator("#said")).to_have_text("8 titles")
    page.get_by_role("button", name=f"Remove {titles[0]}").press("Enter")
    expect(visit.titles("model")).to_have_text(expected(hybrid, liked[1:]))
    assert f"{titles[0]} is removed" in page.evaluate("told")


def test_three_lists_stand_side_by_side(visit: Visit, hybrid: Service, liked: list[int]) -> None:
    visit.like(*called(hybrid, liked))
    expect(visit.page.locator("#lists h2")).to_have_text(["Hybrid", "MF only", "Text only"])
    for view in ("model", "factors", "texts"):
        expect(visit.titles(view)).to_have_text(expected(hybrid, liked, view))
    expect(visit.page.locator("#synthetic")).to_be_visible()
    ranks = {place["title"]: place["rank"] for place in places(hybrid, liked, "factors")}
    shared = [title for title in expected(hybrid, liked) if title in ranks]
    assert shared
    beside = visit.page.locator("#lists section.first li", has_text=shared[0]).locator(".also")
    expect(beside).to_contain_text(f"MF only {ranks[shared[0]]}")
    sections = visit.page.locator("#lists > section").all()
    assert len({section.bounding_box()["y"] for section in sections}) == 1
    visit.page.set_viewport_size({"width": 390, "height": 800})
    assert len({section.bounding_box()["x"] for section in sections}) == 1
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_what_one_likes_is_removed_by_keys(visit: Visit, hybrid: Service, liked: list[int]) -> None:
    titles = called(hybrid, liked)
    visit.like(*titles)
    visit.page.get_by_role("button", name=f"Remove {titles[1]}").press("Enter")
    expect(visit.page.locator("#liked li span")).to_have_text([titles[0], titles[2]])
    expect(visit.page.get_by_role("button", name=f"Remove {titles[2]}")).to_be_focused()
    expect(visit.titles("model")).to_have_text(expected(hybrid, [liked[0], liked[2]]))
    for _ in range(2):
        visit.page.locator("#liked button").first.press("Enter")
    expect(visit.page.locator("#lists")).to_be_hidden()
    expect(visit.page.locator("#weights")).to_be_hidden()


def test_what_is_listed_is_liked_in_place(visit: Visit, hybrid: Service, liked: list[int]) -> None:
    visit.like(*called(hybrid, liked))
    first = expected(hybrid, liked)[0]
    visit.page.locator("#lists").get_by_role("button", name=f"I like {first}").first.press("Enter")
    item = hybrid.ready.model.catalogue.titles.index(first)
    after = expected(hybrid, [*liked, item])
    expect(visit.titles("model")).to_have_text(after)
    add = visit.page.locator("#lists section.first .add")
    expect(add.nth(0)).to_be_focused()  # of what stands in its place


def test_what_is_of_strangers_is_told(visit: Visit, hybrid: Service, liked: list[int]) -> None:
    visit.like(*called(hybrid, liked))
    expect(visit.titles("model")).to_have_text(expected(hybrid, liked))
    client, names = client_of(hybrid, Rules()), [id_of(hybrid, item) for item in liked]
    found = client.post("/explore", json={"liked": names}).json()
    for seen in found["views"]:
        seen["recommended_by"] = "most liked"
    visit.page.route("**/explore", lambda route: route.fulfill(json=found))
    visit.page.locator("#liked button").first.press("Enter")
    told = visit.page.locator("#lists .note").first
    expect(told).to_have_text("What you like says nothing to hybrid; so what is most liked.")


def test_weights_rank_again_as_the_api_does(
    visit: Visit, hybrid: Service, liked: list[int]
) -> None:
    visit.like(*called(hybrid, liked))
    own = expected(hybrid, liked)
    expect(visit.titles("model")).to_have_text(own)
    slider = visit.page.get_by_role("slider", name="rp3beta")
    assert slider.get_attribute("aria-valuetext").endswith(", as learned")
    as_learned, moved_one = visit.page.get_by_role("button", name="As learned"), ".slider.moved"
    expect(as_learned).to_be_disabled()
    expect(visit.page.locator(moved_one)).to_have_count(0)
    slider.press("End")
    expect(visit.page.locator(moved_one)).to_have_count(1)
    expect(as_learned).to_be_enabled()
    moved = expected(hybrid, liked, weights={"rp3beta": float(slider.input_value())})
    assert moved != own
    expect(visit.titles("model")).to_have_text(moved)
    expect(visit.page.get_by_role("status").last).to_contain_text(f"Hybrid: {moved[0]}")
    visit.page.get_by_role("checkbox", name="Vary them by item, as learned").press("Space")
    weights = {"rp3beta": float(slider.input_value())}
    levelled = places(hybrid, liked, weights=weights, gate=False)
    expect(visit.titles("model")).to_have_text([place["title"] for place in levelled])
    score = visit.page.locator("#lists .score").first
    expect(score).to_have_text(f"{levelled[0]['score']:.3f}")
    assert f"{places(hybrid, liked, weights=weights)[0]['score']:.3f}" != score.inner_text()
    as_learned.press("Enter")
    expect(visit.titles("model")).to_have_text(own)
    expect(as_learned).to_be_disabled()
    expect(visit.page.locator(moved_one)).to_have_count(0)
    expect(slider).to_have_attribute("aria-valuetext", re.compile(", as learned$"))


def test_the_panel_opens_and_closes_by_keys(
    visit: Visit, hybrid: Service, liked: list[int]
) -> None:
    visit.like(*called(hybrid, liked))
    page, titles = visit.page, expected(hybrid, liked)
    expect(visit.titles("model")).to_have_text(titles)
    page.locator("#weight-0").press("ArrowLeft")
    weights = {"pmf+text": float(page.locator("#weight-0").input_value())}
    moved = places(hybrid, liked, weights=weights)
    titles, score = [place["title"] for place in moved], moved[1]["score"]
    expect(page.locator("#lists .score").nth(1)).to_have_text(f"{score:.3f}")
    expect(visit.titles("model")).to_have_text(titles)
    second = visit.titles("model").nth(1)
    second.press("Enter")
    panel = page.get_by_role("dialog", name=titles[1])
    expect(panel.get_by_role("heading", name=titles[1])).to_be_focused()
    expect(panel.locator("#why-line")).to_contain_text("Rank 2 of 197 by hybrid, by your weights")
    for table in panel.locator("table").all():
        parts = [float(text) for text in table.locator("tbody td:last-child").all_inner_texts()]
        assert sum(parts) == pytest.approx(score, abs=1e-3)
    names = panel.locator("table").last.locator("th[scope=row]").all_inner_texts()
    assert set(called(hybrid, liked)) <= set(names)
    expect(panel.locator("#similar li")).to_have_count(8)
    item = hybrid.ready.model.catalogue.titles.index(titles[1])
    spaces = hybrid.ready.model.similar(item, 8)
    assert len(spaces) > 1
    for space, like in spaces.items():
        panel.get_by_label("as seen by").select_option(space)
        expect(panel.locator("#similar .title")).to_have_text(called(hybrid, like.items[0]))
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(second).to_be_focused()


def test_what_is_added_from_the_panel_gives_focus_back(
    visit: Visit, hybrid: Service, liked: list[int]
) -> None:
    visit.like(*called(hybrid, liked))
    first = expected(hybrid, liked)[0]
    visit.titles("model").first.press("Enter")
    visit.page.get_by_role("button", name="I like it").last.press("Enter")
    expect(visit.page.locator("#like")).to_be_disabled()
    expect(visit.page.locator("#like")).to_have_text("You like it")
    expect(visit.page.get_by_role("button", name=f"Remove {first}")).to_be_attached()
    item = hybrid.ready.model.catalogue.titles.index(first)
    expect(visit.titles("model")).to_have_text(expected(hybrid, [*liked, item]))
    visit.page.get_by_role("button", name="Close").press("Enter")
    expect(visit.titles("model").first).to_be_focused()
    visit.titles("model").first.press("Enter")
    expect(visit.page.locator("#panel")).to_be_visible()
    visit.page.mouse.click(2, 2)  # beside it
    expect(visit.page.locator("#panel")).to_be_hidden()


def test_a_title_is_never_markup(visit: Visit, hybrid: Service) -> None:
    (title,) = called(hybrid, [MARKUP])
    visit.page.get_by_role("combobox", name="Add a title").press_sequentially("markup")
    expect(visit.page.get_by_role("option")).to_have_text([title])
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator("#liked li span")).to_have_text([title])
    (beside,) = hybrid.ready.model.similar(MARKUP, 1)["texts"].items[0]
    visit.like(*called(hybrid, [beside]))
    visit.page.evaluate(f"open({{item_id: {id_of(hybrid, MARKUP)}, title: 'that'}}, 'model')")
    expect(visit.page.locator("#why-line")).to_contain_text("You like it; this is as if")
    assert visit.page.locator("main img, main b, dialog img, dialog b").count() == 0
    assert visit.page.evaluate("window.hurt") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit: Visit, hybrid: Service, liked: list[int], scheme: str) -> None:
    visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    at_first = axe.Axe().run(visit.page)
    visit.like(*called(hybrid, liked))
    visit.page.get_by_role("combobox", name="Add a title").press_sequentially("my")
    expect(visit.page.get_by_role("option")).to_have_count(8)
    expect(visit.titles("model")).to_have_text(expected(hybrid, liked))
    with_lists = axe.Axe().run(visit.page)
    visit.titles("texts").first.press("Enter")
    expect(visit.page.locator("#similar li")).to_have_count(8)
    with_panel = axe.Axe().run(visit.page)
    for found in (at_first, with_lists, with_panel):
        assert [(of["id"], of["nodes"]) for of in found.response["violations"]] == []


def test_a_token_is_asked_for_and_kept_in_memory(browser: Any, guarded_here: str) -> None:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(guarded_here)
    field = page.get_by_label("Token of this server")
    expect(field).to_be_focused()
    expect(page.get_by_role("combobox", name="Add a title")).to_be_hidden()
    expect(page.locator("#docs")).to_be_hidden()
    field.fill("wrong")
    field.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("no token, or another one")
    field.fill("ключ")
    field.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("no token has such letters")
    expect(field).to_be_focused()
    field.fill("right")
    field.press("Enter")
    expect(page.get_by_role("combobox", name="Add a title")).to_be_focused()
    expect(page.locator("#error")).to_be_hidden()
    assert page.url == f"{guarded_here}/"
    kept = "localStorage.length + sessionStorage.length + document.cookie.length"
    assert page.evaluate(kept) == 0
    page.reload()
    expect(field).to_be_focused()
    page.close()


def test_a_refusal_and_a_server_that_is_away_are_told(
    browser: Any, here: str, hybrid: Service, liked: list[int]
) -> None:
    page = browser.new_page()
    found = Visit(page)
    page.goto(here)
    found.like(*called(hybrid, liked))
    expect(found.titles("model")).to_have_text(expected(hybrid, liked))
    refusal = {"detail": "not that", "remedy": "ask for another"}
    page.route("**/explore/why", lambda route: route.fulfill(status=422, json=refusal))
    found.titles("model").first.press("Enter")
    expect(page.locator("#why-line")).to_have_text("not that; ask for another")
    page.keyboard.press("Escape")
    page.route("**/explore", lambda route: route.abort())
    page.locator("#liked button").first.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("the server does not answer; is it running?")
    page.get_by_role("combobox", name="Add a title").press_sequentially("my")
    expect(page.get_by_role("option")).to_have_count(8)  # which is no answer to what has failed
    expect(page.get_by_role("alert")).to_be_visible()
    page.close()


def test_a_model_of_one_row_has_one_list(browser: Any) -> None:
    with served(made(("pmf",))) as service, listening(service, Rules(rate=1_000)) as address:
        page = browser.new_page()
        found = Visit(page)
        page.goto(address)
        found.like(*called(service, [3, 11]))
        expect(page.locator("#lists h2")).to_have_text(["MF only"])
        expect(found.titles("model")).to_have_text(expected(service, [3, 11]))
        expect(page.locator("#weights")).to_be_hidden()
        page.close()
