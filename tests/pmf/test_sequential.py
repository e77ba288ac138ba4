import ctypes
import ctypes.util
from pathlib import Path

import jax
import numpy as np
import pytest
from orbax.checkpoint import PyTreeCheckpointer

from jaxrec.data.dataset import Dataset, Interactions
from jaxrec.errors import InputError
from jaxrec.evaluation.split import published_split
from jaxrec.pmf import sequential
from jaxrec.pmf.sequential import fit_sequential
from jaxrec.pmf.sweeps import Checkpoints
from jaxrec.sources.synthetic import STARS

FIXTURE = Path(__file__).parent.parent / "fixtures" / "cornac_factors.npz"


@pytest.fixture(scope="module")
def cornac() -> tuple[Interactions, np.ndarray, np.ndarray]:
    stored = np.load(FIXTURE)
    return Interactions(*(stored[name] for name in Interactions._fields)), stored["U"], stored["V"]


def test_factors_equal_cornacs_after_three_epochs(
    cornac: tuple[Interactions, np.ndarray, np.ndarray],
) -> None:
    ratings, U, V = cornac
    factors, _ = fit_sequential(ratings, STARS, len(U), len(V), factors=U.shape[1], sweeps=3)
    np.testing.assert_allclose(factors.U, U, rtol=0, atol=1e-12)
    np.testing.assert_allclose(factors.V, V, rtol=0, atol=1e-12)


def test_blocks_of_one_user_equal_single_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The NumPy version takes the ratings one by one, as the docstring's formulas say."""
    rng = np.random.default_rng(0)
    users, items, k = 6, 30, 4
    rows = [(u, i) for u in range(users) for i in rng.permutation(items)[: 4 + 5 * u]]
    user, item = np.array(rows, np.int32).T
    ratings = Interactions(
        user, item, rng.integers(1, 11, len(user)) / 2, np.zeros(len(user), np.int64)
    )
    monkeypatch.setattr(sequential, "BLOCK", 8)
    jax.clear_caches()
    factors, losses = fit_sequential(
        ratings, STARS, users, items, factors=k, sweeps=2, lambda_=0.01
    )
    jax.clear_caches()

    single = lambda x: float(np.float32(x))  # noqa: E731
    draws = np.random.RandomState(42)
    U = draws.normal(0, 0.001, (users, k))
    V = np.zeros((items, k))
    V[list(dict.fromkeys(item))] = draws.normal(0, 0.001, (len(set(item)), k))
    cache_U, cache_V = np.zeros_like(U), np.zeros_like(V)
    eta, decay, lambda_ = single(0.005), single(0.9), single(0.01)
    expected = []
    for _ in range(2):
        loss = 0.0
        for u, i, stars in zip(user, item, ratings.values, strict=True):
            p = single(1 / (1 + single(np.exp(-single(U[u] @ V[i])))))
            d = single((stars - 0.5) / 4.5) - p
            for mine, other, cache, row in ((U, V[i], cache_U, u), (V, U[u], cache_V, i)):
                g = d * p * (1 - p) * other - lambda_ * mine[row]
                cache[row] = decay * cache[row] + (1 - decay) * g**2
                mine[row] += eta * (g / (np.sqrt(cache[row]) + 1e-8))
            loss += d**2 + lambda_ * (U[u] @ U[u] + V[i] @ V[i])
        expected.append(loss)
    np.testing.assert_allclose(factors.U, U, atol=1e-6)
    np.testing.assert_allclose(factors.V, V, atol=1e-6)
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


def test_expf_has_the_bits_of_the_c_library() -> None:
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    library.expf.restype, library.expf.argtypes = ctypes.c_float, [ctypes.c_float]
    x = np.random.default_rng(0).uniform(-6, 6, 20_000).astype(np.float32)
    with jax.enable_x64(True):
        ours = np.asarray(sequential._expf(jax.numpy.asarray(x, jax.numpy.float64)))
    assert ours.tolist() == [library.expf(float(value)) for value in x]


def test_sigmoid_is_cut_off_beyond_six() -> None:
    with jax.enable_x64(True):
        s = jax.numpy.asarray([-6.5, -5.5, 0.0, 5.5, 6.5])
        p = np.asarray(sequential._sigmoid(s))
    assert p[[0, 2, 4]].tolist() == [0, 0.5, 1]
    assert p[[1, 3]].tolist() == pytest.approx([0.00407014, 0.99592986], abs=1e-7)


def test_no_ratings_are_refused() -> None:
    none = Interactions(
        np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0), np.zeros(0, np.int64)
    )
    with pytest.raises(InputError, match="no training ratings"):
        fit_sequential(none, STARS, users=2, items=2)


def test_a_kill_while_saving_leaves_the_last_checkpoint(
    synthetic: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saving sweep 3 dies half-way; sweep 2 is still there and goes on."""
    train = synthetic.interactions.at(published_split(synthetic.interactions).train)

    def fit(told: list[int]) -> np.ndarray:
        factors, _ = fit_sequential(
            train, STARS, synthetic.users, synthetic.items, factors=4, sweeps=4,
            checkpoints=Checkpoints(tmp_path / "c", {}, every=0.0),
            on_sweep=lambda sweep, loss: told.append(sweep),
        )  # fmt: skip
        return factors.V

    saves: list[Path] = []
    whole = PyTreeCheckpointer.save

    def dies(self: PyTreeCheckpointer, folder: Path, *rest: object, **options: object) -> None:
        saves.append(folder)
        if len(saves) == 3:
            folder.mkdir()
            (folder / "half").write_text("x")
            raise Stop
        whole(self, folder, *rest, **options)

    monkeypatch.setattr(PyTreeCheckpointer, "save", dies)
    with pytest.raises(Stop):
        fit([])
    told: list[int] = []
    resumed = fit(told)
    assert told == [2, 3, 4]
    again: list[int] = []
    Checkpoints(tmp_path / "c", {}).clear()
    assert fit(again).tobytes() == resumed.tobytes()


def test_rows_without_ratings_stay_zero() -> None:
    one = Interactions(
        np.array([1], np.int32), np.array([2], np.int32), np.array([4.0]), np.array([0], np.int64)
    )
    factors, _ = fit_sequential(one, STARS, users=3, items=4, factors=2, sweeps=2)
    assert not factors.U[[0, 2]].any()
    assert not factors.V[[0, 1, 3]].any()
    assert factors.U[1].all()
    assert factors.V[2].all()


class Stop(Exception):
    """Stands for a process that is killed."""


@pytest.mark.parametrize("stop", [KeyboardInterrupt, Stop])
def test_an_interrupted_fit_resumes_with_the_same_bytes(
    synthetic: Dataset, tmp_path: Path, stop: type[BaseException]
) -> None:
    train = synthetic.interactions.at(published_split(synthetic.interactions).train)

    def run(sweeps: int, stop_at: int | None, folder: Path) -> tuple[list[int], np.ndarray]:
        seen: list[int] = []

        def on_sweep(sweep: int, loss: float) -> None:
            seen.append(sweep)
            if sweep == stop_at:
                raise stop

        checkpoints = Checkpoints(folder, {"settings": 1}, every=0.0)
        factors, _ = fit_sequential(
            train, STARS, synthetic.users, synthetic.items, factors=4, sweeps=sweeps,
            checkpoints=checkpoints, on_sweep=on_sweep,
        )  # fmt: skip
        return seen, factors.V

    _, unbroken = run(6, None, tmp_path / "unbroken")
    with pytest.raises(stop):
        run(6, 4, tmp_path / "broken")
    seen, resumed = run(6, None, tmp_path / "broken")
    assert seen[0] in (3, 4)
    assert seen[-1] == 6
    assert resumed.tobytes() == unbroken.tobytes()


def test_a_checkpoint_of_other_settings_is_not_continued(
    synthetic: Dataset, tmp_path: Path
) -> None:
    train = synthetic.interactions.at(published_split(synthetic.interactions).train)
    seen: list[int] = []
    for settings in (1, 2):
        fit_sequential(
            train, STARS, synthetic.users, synthetic.items, factors=4, sweeps=2,
            checkpoints=Checkpoints(tmp_path / "c", {"settings": settings}, every=0.0),
            on_sweep=lambda sweep, loss: seen.append(sweep),
        )  # fmt: skip
    assert seen == [1, 2, 1, 2]


def test_a_loss_that_is_not_finite_stops_the_fit(synthetic: Dataset) -> None:
    train = synthetic.interactions.at(published_split(synthetic.interactions).train)
    with pytest.raises(FloatingPointError, match="sweep 1"):
        fit_sequential(
            train, STARS, synthetic.users, synthetic.items, factors=2, learning_rate=np.inf
        )


def test_a_save_that_is_interrupted_is_not_repeated_over_itself(tmp_path: Path) -> None:
    checkpoints, written = Checkpoints(tmp_path / "c", {}), list[Path]()

    def interrupted(path: Path) -> None:
        written.append(path)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoints.keep([1.0], interrupted)
    checkpoints.keep([1.0], interrupted)
    assert len(written) == 1


def test_a_checkpoint_that_was_changed_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", {})
    checkpoints.save({"U": np.ones(4)}, [1.0])
    checkpoints.refuse_damaged()
    largest = max((tmp_path / "c").rglob("d/*"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match=r"not as it was written; delete .*c, and the fit begins"):
        checkpoints.refuse_damaged()
