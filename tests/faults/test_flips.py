"""A flipped bit in any kept file is found, or changes nothing."""

from collections.abc import Iterator

import numpy as np
import pytest
from click.testing import CliRunner

import cli
from tests.faults.deaths import small_data
from tests.faults.flips import BAD, Kept

pytestmark = pytest.mark.timeout(600)


def jaxrec(*arguments: object) -> None:
    done = CliRunner().invoke(cli.main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A run folder with a search, factors and a score card, and a model folder."""
    place = tmp_path_factory.mktemp("kept")
    data, work = small_data(place / "data", users=20, items=30), place / "work"
    run, rows = work / "run", ("--row", "ease", "--row", "pmf", "-k", 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxrec.experiment.rows.SIGNALS", (("ease",), ("rp3beta",)))
        jaxrec("tune", "--run", run, "--data", data, "--row", "ease", "--trials", 2)
        jaxrec("train-pmf", "--run", run, "--factors", 2, "--sweeps", 2)
        jaxrec("eval", "--run", run, *rows, "--row", "hybrid")
        jaxrec("fit", "--run", run, "--row", "pmf", "--out", work / "model")
        yield Kept(work)


def test_no_flipped_bit_goes_unnoticed(flipped: Kept) -> None:
    rng = np.random.default_rng(0)
    for path, content in flipped.files.items():
        for bit in rng.integers(8 * len(content), size=2 if content else 0):
            found = flipped.flip(path, int(bit))
            assert found.word not in BAD, (path, bit, found)
            if found.word == "found":
                assert str(flipped.place) in found.why, (path, bit, found)
