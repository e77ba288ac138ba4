import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# what one test has compiled no other one compiles again; the user's cache is not the tests' to fill
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.join(  # noqa: PTH118
    tempfile.gettempdir(),
    f"jaxrec-compiled-{os.environ.get('PYTEST_XDIST_TESTRUNUID') or os.getpid()}",
)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # of torch: there are as many workers as cores

from hypothesis import HealthCheck, settings

from jaxrec.data.dataset import Dataset, Interactions, Remarks
from jaxrec.data.ids import Ids
from jaxrec.health.packages import version_of
from jaxrec.sources.library import DEFAULT, load_dataset
from jaxrec.sources.synthetic import STARS, films, synthetic_dataset

# the same examples everywhere, and no verdict on how long they take
settings.register_profile(
    "jaxrec", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("jaxrec")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The last to go removes what was compiled."""
    if not hasattr(session.config, "workerinput"):
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


def pytest_report_header() -> str:
    """What decides figures, beside the code."""
    libraries = ("jax", "jaxlib", "numpy", "torch", "transformers", "peft", "bitsandbytes")
    return ", ".join(f"{name} {version_of(name)}" for name in libraries)


@pytest.fixture(scope="session")
def movielens() -> Dataset:
    """The real ml-latest-small; never downloaded by a test."""
    folder = Path(os.environ.get("JAXREC_DATA", "")) / DEFAULT
    if "JAXREC_DATA" not in os.environ:
        pytest.skip(f"real data: set JAXREC_DATA to the folder that holds {DEFAULT}")
    return load_dataset(folder)  # set and wrong is a failure, not a skip


@pytest.fixture(scope="session")
def synthetic() -> Dataset:
    return synthetic_dataset(users=60, items=120)


@contextmanager
def synthetic_of(users: int, items: int) -> Iterator[None]:
    """What is called `synthetic` is so large, for tests that fit again and again."""
    with pytest.MonkeyPatch.context() as patch:
        made = partial(synthetic_dataset, users=users, items=items)
        patch.setattr("jaxrec.sources.library.synthetic_dataset", made)
        yield


@pytest.fixture(scope="module")
def small_synthetic() -> Iterator[None]:
    """Of which `run` searches nothing unless it is asked to."""
    with synthetic_of(users=100, items=200), pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxrec.experiment.tuning.MOST", 1)
        yield


@pytest.fixture(scope="module")
def run(small_synthetic: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of made data, of which `popularity` is measured."""
    import cli

    run = tmp_path_factory.mktemp("small") / "run"
    command = ["eval", "--run", str(run), "--data", "synthetic", "--row", "popularity", "-k", "5"]
    done = CliRunner().invoke(cli.main, command)
    assert done.exit_code == 0, done.output
    return run


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Of torch: more only wait for one another on layers as small as a test's."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=[False, True], ids=["unpacked", "packed"])
def packing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Does the processor pack 4-bit layers? Both kinds of it, on every machine."""
    import bitsandbytes.functional
    import bitsandbytes.nn.modules

    from tests.packed import gemv_4bit

    there = bitsandbytes.functional.has_avx512bf16()
    monkeypatch.setattr(bitsandbytes.nn.modules, "has_avx512bf16", lambda: request.param)
    if not there:
        monkeypatch.setattr(bitsandbytes.functional, "gemv_4bit", gemv_4bit)
    return request.param


@pytest.fixture
def compiled(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[str], int]]:
    """How often functions whose name matches a pattern have been compiled in this test."""
    import jax

    jax.config.update("jax_log_compiles", True)  # in all threads, unlike jax.log_compiles()
    yield lambda name: sum(
        re.match(rf"Compiling jit\({name}\)", record.getMessage()) is not None
        for record in caplog.records
    )
    jax.config.update("jax_log_compiles", False)


@pytest.fixture
def make_dataset() -> Callable[..., Dataset]:
    """A data set from (user, item, stars, time) rows; ids are positions + 1."""

    def make(
        rows: list[tuple[int, int, float, int]],
        users: int,
        items: int,
        titles: list[str] | None = None,
        genres: list[str] | None = None,
        tags: tuple[tuple[int, int, str], ...] = (),
    ) -> Dataset:
        return Dataset(
            name="tiny",
            source="a test",
            user_ids=Ids(np.arange(1, users + 1), "user"),
            catalogue=films(
                list(range(1, items + 1)),
                titles or [f"Film {i} (2000)" for i in range(items)],
                genres or ["Drama"] * items,
            ),
            interactions=make_ratings(rows),
            feedback=STARS,
            remarks=Remarks(
                np.array([u for u, _, _ in tags], np.int32),
                np.array([i for _, i, _ in tags], np.int32),
                [word for _, _, word in tags],
                np.zeros(len(tags), np.int64),
            ),
        )

    return make


def make_ratings(rows: list[tuple[int, int, float, int]]) -> Interactions:
    """Interactions from (user, item, stars, time) rows."""
    return Interactions(
        users=np.array([r[0] for r in rows], np.int32),
        items=np.array([r[1] for r in rows], np.int32),
        values=np.array([r[2] for r in rows], np.float64),
        times=np.array([r[3] for r in rows], np.int64),
    )
