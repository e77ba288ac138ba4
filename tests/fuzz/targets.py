"""All targets by name; those that ask a model make it when they are entered."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.fuzz import artefacts, cards, descriptions, names, options, requests, tables
from tests.fuzz.drawing import Attempt
from tests.web.conftest import served
from tests.web.tasted import made

Target = Callable[[Path], AbstractContextManager[Attempt]]


@contextmanager
def _requests(folder: Path) -> Iterator[Attempt]:
    """Of a model that fuses signals."""
    with served(made()) as service, requests.of_service(service) as attempt:
        yield attempt


TARGETS: dict[str, Target] = {
    "guessed": tables.guessed,
    "described": tables.described,
    "descriptions": descriptions.damaged_ones,
    "written": descriptions.written_ones,
    "cards": cards.of_any,
    "ids": names.ids,
    "texts": names.texts,
    "places": names.places,
    "options": options.of_commands,
    "artefacts": lambda folder: artefacts.of_model(folder, made(("itemknn",))),
    "requests": _requests,
}
