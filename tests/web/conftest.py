"""A tiny model that is served, and a client of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from jaxrec.experiment.scoring import score_card
from jaxrec.serving.folder import write_model
from jaxrec.serving.model import FittedModel
from jaxrec.web.guard import Rules
from jaxrec.web.ready import Ready
from jaxrec.web.routes import Service
from jaxrec.web.server import guarded, serving
from tests.conftest import synthetic_of
from tests.serving.conftest import fitted, quick
from tests.web.tasted import made

HERE = "http://127.0.0.1"


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of a model of factors, which fold new users in."""
    place = tmp_path_factory.mktemp("web")
    with synthetic_of(users=100, items=200):
        run = quick(place / "run")
        score_card(run, only=("popularity", "pmf+text"))
        model = fitted(run, "pmf+text")
        write_model(place / "model", model)
        yield place / "model"


@pytest.fixture(scope="package")
def service(folder: Path) -> Iterator[Service]:
    served = serving(folder, Ready.read(folder))
    yield served
    served.worker.close()


@pytest.fixture(scope="package")
def hybrid() -> Iterator[Service]:
    """A model that fuses signals."""
    with served(made()) as service:
        yield service


@pytest.fixture
def client(service: Service) -> TestClient:
    return client_of(service, Rules(rate=1_000))


@contextmanager
def served(model: FittedModel) -> Iterator[Service]:
    """To few at a time, so that little is tried beforehand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxrec.web.ready.SIZES", (4,))
        service = serving(Path("model"), Ready(model))
    yield service
    service.worker.close()


def client_of(service: Service, rules: Rules, base_url: str = HERE) -> TestClient:
    return TestClient(guarded(service, rules), base_url, raise_server_exceptions=False)
