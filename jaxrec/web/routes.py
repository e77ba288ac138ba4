"""What is answered to programs."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from jaxrec.data.ids import NONE
from jaxrec.errors import InputError
from jaxrec.models.model import NOBODY
from jaxrec.web.batches import Worker
from jaxrec.web.meters import LOG, Meters
from jaxrec.web.problems import Problem, handle_problems
from jaxrec.web.ready import Listed, One, Ready

MOST = 1_000
"""Items of a list, liked, or excluded."""
MOST_EXPLAINED = 50


class Service:
    """The model in use, and the thread that asks it."""

    def __init__(self, path: Path, ready: Ready, worker: Worker, meters: Meters):
        self.path, self.ready, self.worker, self.meters = path, ready, worker, meters
        self.generation = 1
        self.meters.generation.set(1)
        self._reloading = asyncio.Lock()

    async def reload(self) -> None:
        """Take the model folder anew; one that cannot be read or warmed up changes nothing."""
        async with self._reloading:
            try:
                ready = await asyncio.to_thread(Ready.read, self.path)
                for step in ready.warm_up():  # between other requests
                    await self.compute(step)
            except (InputError, OSError, Problem) as error:
                LOG.error("the old model stays: %s", error)
                return
            except Exception:
                LOG.exception("the old model stays")
                return
            self.ready = ready
            self.generation += 1
            self.meters.generation.set(self.generation)
            LOG.info("model %s, generation %d", ready.sha256[:12], self.generation)

    async def listed(self, ready: Ready, one: One, k: int) -> Listed:
        """The best items, `k` at the least; a known user's are the same until a reload."""
        length = ready.length(k)
        kept = one.user != NOBODY and length == ready.lengths[0]
        if kept and (found := ready.remembered.get(one.user)) is not None:
            return found
        found = await asyncio.wrap_future(self.worker.recommend(ready, one, length))
        if kept:
            ready.remember(one.user, found)
        return found

    async def compute(self, work: Callable[[], Any]) -> Any:
        """What `work` returns, called in the worker's thread."""
        return await asyncio.wrap_future(self.worker.call(work))


Asked = Annotated[str | StrictInt, Field(description="Id or title.")]


class Most(BaseModel):
    """What a list is asked for by; what is not known is refused, for it would be without effect."""

    model_config = ConfigDict(extra="forbid")
    k: int = Field(10, ge=1, le=MOST, description="How many items")


class Wishes(Most):
    """What a user's list is asked for by."""

    exclude: list[str] = Field(
        [], max_length=MOST, description="Ids or titles not to be listed; may be repeated"
    )
    explain: bool = Field(False, description=f"Say why; for k up to {MOST_EXPLAINED}")


class Beginning(BaseModel):
    """What titles are completed by."""

    model_config = ConfigDict(extra="forbid")
    q: str = Field("", max_length=200, description="Beginnings of words")
    limit: int = Field(10, ge=1, le=100)


class Somebody(BaseModel):
    """Somebody new, by what they like."""

    model_config = ConfigDict(extra="forbid")
    liked: list[Asked] = Field(max_length=MOST)
    k: int = Field(10, ge=1, le=MOST)
    exclude: list[Asked] = Field([], max_length=MOST)
    explain: bool = False


class Item(BaseModel):
    """Of the catalogue."""

    item_id: int | str
    title: str


class Why(BaseModel):
    """What gives an item its score; see `jaxrec explain`."""

    in_words: str
    signals: list[dict[str, Any]]
    known: list[dict[str, Any]]


class Place(Item):
    """Of a list."""

    rank: int
    score: float
    why: Why | None = None


class Recommendations(BaseModel):
    """Best first, and by what; to a stranger what suits those of whom nothing is known."""

    recommended_by: str
    items: list[Place]


class Health(BaseModel):
    """Of the server."""

    ready: bool
    model: str
    sha256: str
    written: str
    row: str
    generation: int


def add_routes(app: FastAPI, service: Service) -> None:
    """All that is answered."""

    # models describe the answers; to build and check one each time would take longer than to answer
    @app.get("/users/{user:path}/recommendations", response_model=Recommendations)
    async def of_user(user: str, wishes: Annotated[Wishes, Query()]) -> JSONResponse:
        """Recommend to a user whom the model knows."""
        ready = service.ready
        (position,) = ready.model.user_ids.find([user]).tolist()
        if position == NONE:
            raise Problem(
                404,
                f"no user {user[:80]!r}",
                "POST /recommendations serves somebody new, by what they like",
            )
        return await recommend(
            ready, ready.user(position), wishes.k, wishes.exclude, wishes.explain
        )

    @app.post("/recommendations", response_model=Recommendations)
    async def of_somebody(somebody: Somebody) -> JSONResponse:
        """Recommend to somebody new, by what they like."""
        ready = service.ready
        one = ready.somebody([found_item(ready, asked) for asked in somebody.liked])
        return await recommend(ready, one, somebody.k, somebody.exclude, somebody.explain)

    async def recommend(
        ready: Ready, one: One, k: int, exclude: Sequence[Asked], explain: bool
    ) -> JSONResponse:
        if explain and k > MOST_EXPLAINED:
            raise Problem(422, f"k is {k}, and explained", f"k of at most {MOST_EXPLAINED}")
        left_out = {found_item(ready, asked) for asked in exclude}
        asked = min(k + len(left_out), ready.items)
        found = await service.listed(ready, one, asked)
        kept = (found.items >= 0) & ~np.isin(found.items, list(left_out))
        items, scores = found.items[kept][:k], found.scores[kept][:k]
        why: list[dict[str, Any]] = []
        if explain and len(items):
            why = await service.compute(lambda: ready.why(one, items.tolist(), found.strange))
        model = ready.model
        by = model.strangers.called(None) if found.strange else model.row
        places = places_of(ready, items, scores, why)
        return JSONResponse({"recommended_by": by, "items": places})

    @app.get("/items/{item:path}/similar", response_model=dict[str, list[Place]])
    async def similar(item: str, most: Annotated[Most, Query()]) -> JSONResponse:
        """List the items most like one, by each signal of the model and by texts."""
        ready = service.ready
        position = found_item(ready, item)
        spaces = await service.compute(lambda: ready.model.similar(position, ready.length(most.k)))
        if not spaces:
            title = ready.model.catalogue.called(position)
            raise Problem(404, f"the model does not say what {title!r} is like", "ask for another")
        return JSONResponse(
            {
                name: places_of(ready, found.items[0][: most.k], found.scores[0][: most.k])
                for name, found in spaces.items()
            }
        )

    @app.get("/items", response_model=list[Item])
    async def items(beginning: Annotated[Beginning, Query()]) -> JSONResponse:
        """Complete a title: items each of whose asked words begins a word of the title."""
        titles = service.ready.titles
        found = titles.starting(beginning.q, beginning.limit)
        return JSONResponse([_item(service.ready, position) for position in found])

    @app.get("/health")
    async def health() -> Health:
        """Which model is in use."""
        ready = service.ready
        return Health(
            ready=True,
            model=service.path.name,
            sha256=ready.sha256,
            written=ready.written,
            row=ready.model.row,
            generation=service.generation,
        )

    @app.get("/metrics")
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(service.meters.text(), media_type="text/plain; version=0.0.4")


def application(service: Service) -> FastAPI:
    """Routes and problems; pages are added to it, and a `Guard` around it says who may ask."""
    once = [Depends(asked_once)]
    app = FastAPI(title="jaxrec", docs_url=None, redoc_url=None, dependencies=once)
    handle_problems(app)
    add_routes(app, service)
    return app


async def asked_once(request: Request) -> None:
    """Raise a Problem where a parameter is repeated, for all but one would be without effect."""
    query = request.query_params.multi_items()
    _refuse_repeated(query, but=("exclude",))
    if request.method == "POST":
        if query:
            raise Problem(400, "a query is without effect here", "send all in the body")
        with suppress(ValueError, RecursionError):  # whoever reads the body tells what is wrong
            json.loads(await request.body(), object_pairs_hook=_refuse_repeated)


def _refuse_repeated(pairs: list[tuple[str, Any]], but: Sequence[str] = ()) -> dict[str, Any]:
    names = set(but)
    for name, _ in pairs:
        if name in names and name not in but:
            raise Problem(400, f"{name[:80]!r} is there more than once", "give it once")
        names.add(name)
    return dict(pairs)


def found_item(ready: Ready, asked: Asked) -> int:
    """Position of an item that is asked for by id or title."""
    text = str(asked)
    catalogue = ready.model.catalogue
    (position,) = catalogue.ids.find([text]).tolist()
    found = ready.titles.called(text) if position == NONE else [position]
    if len(found) == 1:
        return found[0]
    if found:
        several = [_item(ready, item) for item in ready.titles.starting(text, 10)]
        raise Problem(422, f"{text[:80]!r} is several items", "give an id", items=several)
    close = [catalogue.called(item) for item in ready.titles.close_to(text)]
    remedy = "give an id or a title, as GET /items?q= completes it"
    raise Problem(404, f"no item {text[:80]!r}", remedy, close=close)


def _item(ready: Ready, position: int) -> dict[str, Any]:
    """An `Item`."""
    catalogue = ready.model.catalogue
    name = catalogue.ids.names[position].item()
    return {"item_id": name, "title": catalogue.titles[position]}


def places_of(
    ready: Ready,
    items: NDArray[np.int32],
    scores: NDArray[np.floating],
    why: Sequence[dict[str, Any]] = (),
) -> list[dict[str, Any]]:
    """A `Place` each."""
    named = zip(items[items >= 0].tolist(), scores.tolist(), strict=False)
    return [
        _item(ready, item)
        | {"rank": place + 1, "score": score}
        | ({"why": why[place]} if why else {})
        for place, (item, score) in enumerate(named)
    ]
