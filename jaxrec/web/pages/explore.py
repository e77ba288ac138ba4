"""The page on which one explores a model, and the two routes that it asks beside the others."""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Response
from pydantic import BaseModel, ConfigDict, Field

from jaxrec.errors import InputError
from jaxrec.explanation.words import as_json
from jaxrec.models.registry import MODELS
from jaxrec.serving.model import FittedModel
from jaxrec.web.pages.views import FACTORS, MODEL, TEXTS, weighed, weights
from jaxrec.web.problems import Problem
from jaxrec.web.ready import Ready
from jaxrec.web.routes import Asked, Place, Service, found_item, places_of

HERE = Path(__file__).parent
FILES = {
    "/": ("explore.html", "text/html"),
    "/explore.css": ("explore.css", "text/css"),
    "/explore.js": ("explore.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
MOST_LIKED = 100
MOST_LISTED = 50
HEADINGS = {"hybrid": "Hybrid", "pmf": "MF only", "content": "Text only"}
TOLD = {
    "pmf": "Matrix factorization: who liked what, and no text.",
    "pmf+text": "Matrix factorization whose items lean on their texts where few have them.",
    "content": "Texts and columns most like those of what you like; nobody's likes are asked.",
}

View = Literal["model", "factors", "texts"]
Steps = Annotated[float, Field(ge=-10, le=10, allow_inf_nan=False)]


class Taste(BaseModel):
    """What somebody likes, and by what weights the model is to answer."""

    model_config = ConfigDict(extra="forbid")
    liked: list[Asked] = Field(max_length=MOST_LIKED)
    weights: dict[str, Steps] = Field(
        {}, max_length=20, description="Mean weights by signal; of others as learned"
    )
    gate: bool = Field(True, description="Vary the weights as learned; else they alone count")


class Exploring(Taste):
    """Lists side by side."""

    k: int = Field(10, ge=1, le=MOST_LISTED)
    views: list[View] = Field([MODEL, FACTORS, TEXTS], max_length=3)


class Wondering(Taste):
    """About an item, in one of the views."""

    item: Asked
    view: View = MODEL


class Seen(BaseModel):
    """The list of a view."""

    view: View
    row: str
    heading: str
    told: str
    recommended_by: str
    items: list[Place]


class Signal(BaseModel):
    """That is fused: its mean weight over what one can get, and between which an item's lie."""

    signal: str
    label: str
    learned: float
    least: float
    most: float


class Explored(BaseModel):
    """Lists by view, and the fusion of the model; `gate` says whether it varies the weights."""

    views: list[Seen]
    signals: list[Signal]
    gate: bool
    beside: bool = Field(description="Does an item get something by how many have it?")
    synthetic: bool


def add_explore(app: FastAPI, service: Service) -> None:
    """The page, its files, and what it asks."""
    for path, (name, kind) in FILES.items():
        app.add_api_route(path, _file(name, kind), include_in_schema=False)

    @app.post("/explore", response_model_exclude_none=True)
    async def explore(asked: Exploring) -> Explored:
        """List what suits a taste by the model, by factors alone and by texts alone."""
        ready = service.ready
        liked = _liked(ready, asked)
        found = await service.compute(lambda: _explored(ready, liked, asked))
        assert isinstance(found, Explored)
        return found

    @app.post("/explore/why")
    async def why(asked: Wondering) -> dict[str, Any]:
        """Say why a view scores an item as it does: parts by signal and by what is liked."""
        ready = service.ready
        liked, item = _liked(ready, asked), found_item(ready, asked.item)
        found = await service.compute(lambda: _why(ready, liked, item, asked))
        assert isinstance(found, dict)
        return found


def _file(name: str, kind: str) -> Any:
    content = (HERE / name).read_bytes()

    async def file() -> Response:
        return Response(content, media_type=kind)

    return file


def _liked(ready: Ready, asked: Taste) -> list[int]:
    """Positions; Problem for what is not in the catalogue, or no signal."""
    signals = [] if ready.model.fusion is None else list(ready.model.learned)
    for name in asked.weights:
        if name not in signals:
            remedy = f"one of {', '.join(signals)}" if signals else "leave out weights"
            raise Problem(422, f"{name[:80]!r} is no signal that is fused", remedy)
    return [found_item(ready, one) for one in asked.liked]


def _view(ready: Ready, view: str, liked: list[int], asked: Taste) -> FittedModel:
    """Problem if the model has no such view."""
    if view not in ready.views:
        raise Problem(422, f"the model has no view {view}", f"one of {', '.join(ready.views)}")
    model = ready.views[view]
    somebody = model.somebody(np.array(liked, np.int32))
    return weighed(model, somebody, asked.weights, asked.gate)


def _explored(ready: Ready, liked: list[int], asked: Exploring) -> Explored:
    one, shown = ready.somebody(liked), []
    for view in [view for view in ready.views if view in asked.views]:
        model = _view(ready, view, liked, asked)
        found = ready.seen_as(model).lists([one], asked.k)
        items, scores = found.items[0, : asked.k], found.scores[0, : asked.k]
        shown.append(
            Seen(
                view=view,
                row=model.row,
                heading=HEADINGS.get(model.row, model.row),
                told=_told(model),
                recommended_by=model.strangers.called(None) if found.strange[0] else model.row,
                items=[Place(**place) for place in places_of(ready, items, scores)],
            )
        )
    model = ready.model
    asking = model.somebody(np.array(liked, np.int32))
    signals = [
        Signal(
            signal=name,
            label=MODELS[name].label,
            learned=of.mean,
            least=of.least,
            most=of.most,
        )
        for name, of in weights(model, asking).items()
    ]
    fusion = model.fusion
    return Explored(
        views=shown,
        signals=signals,
        gate=fusion is not None and fusion.varied,
        beside=fusion is not None and any(np.any(fusion.weights[name]) for name in "hH"),
        synthetic=model.synthetic,
    )


def _told(model: FittedModel) -> str:
    if model.fusion is not None:
        return f"The model: {', '.join(model.learned)}, weighed."
    return TOLD.get(model.row) or f"The model: {MODELS[model.row].label}."


def _why(ready: Ready, liked: list[int], item: int, asked: Wondering) -> dict[str, Any]:
    model = _view(ready, asked.view, liked, asked)
    asking = model.somebody(np.array(liked, np.int32))
    try:
        (found,) = ready.seen_as(model).model.explain(asking, np.array([item], np.int32))
    except InputError as error:
        raise Problem(422, str(error), "ask for another item") from None
    return as_json(model.catalogue, found) | {"liked": item in liked}
