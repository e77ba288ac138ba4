"""Half a sweep, step by step, against NumPy that does what the module says, a vector at a time."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec import PmfSettings, fit_pmf
from jaxrec.pmf import half_sweep
from jaxrec.pmf.half_sweep import Half, hold, lay_out_vectors, over_all_pairs, solve
from jaxrec.pmf.objective import Observed, ridges
from jaxrec.pmf.tiles import order_vectors

VECTORS, OTHERS, COLUMNS = 9, 12, 3


class Problem(NamedTuple):
    """One side's vectors [n], which stand by falling length, and the other side's [m]."""

    X: np.ndarray
    S: np.ndarray
    vectors: np.ndarray
    columns: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    ridge: np.ndarray
    w0: float
    mean: np.ndarray | None = None
    offset: np.ndarray | None = None
    link: str = "identity"


def problem(w0: float, prior: bool, link: str = "identity", spread: float = 1.0) -> Problem:
    """Of 1 to 20 ratings a vector, one of none if there is a prior."""
    rng = np.random.default_rng(5)
    lengths = np.array([20, 11, 8, 7, 3, 2, 1, 1, 0])[: VECTORS if prior else VECTORS - 1]
    n = lengths.sum()
    targets = rng.random(n) if link == "logistic" else rng.normal(size=n)
    return Problem(
        spread * rng.normal(size=(len(lengths), COLUMNS)),
        rng.normal(size=(OTHERS, COLUMNS)),
        np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
        rng.integers(0, OTHERS, n).astype(np.int32),
        targets,
        rng.choice([0.25, 1.0, 4.0], n),
        rng.uniform(0.01, 1.5, len(lengths)),
        w0,
        rng.normal(size=(len(lengths), COLUMNS)) if prior else None,
        rng.normal(size=OTHERS) if prior else None,
        link,
    )


def solved(of: Problem, relaxation: float, steps: int, ratings: int) -> Half:
    """By the kernel; many `ratings` make it take the eigenbasis."""
    with jax.enable_x64(True), ThreadPoolExecutor(1) as pool:
        order = order_vectors(of.vectors, len(of.X), empty=True)
        entries = of.vectors, of.columns, of.targets, of.weights
        shards = lay_out_vectors(*entries, order, of.ridge, of.mean)._replace(ratings=ratings)
        offset = None if of.offset is None else jnp.asarray(of.offset)
        held = hold(shards, jnp.asarray(of.S), offset, of.w0)
        assert (held.basis is not None) == (of.w0 > 0 and ratings > 0)
        how: dict[str, Any] = {"relaxation": relaxation, "link": of.link, "steps": steps}
        return solve(shards, jnp.asarray(of.X), held, pool, **how)


def by_hand(of: Problem, relaxation: float, steps: int, basis: bool) -> Half:
    """The module's formula and its method, with all pairs spelt out."""
    k = of.S.shape[1]
    offset = np.zeros(len(of.S)) if of.offset is None else of.offset
    gramian = of.w0 * of.S.T @ of.S
    Q = np.linalg.eigh(gramian)[1] if basis else np.eye(k)
    S, diagonal = of.S @ Q, np.diag(Q.T @ gramian @ Q)
    found, objective, penalty = [], 0.0, 0.0
    for row, ridge in enumerate(of.ridge):
        own = of.vectors == row
        F, o, t, w = S[of.columns[own]], offset[of.columns[own]], of.targets[own], of.weights[own]
        m = np.zeros(k) if of.mean is None else of.mean[row] @ Q

        def loss(x: np.ndarray, F=F, o=o, t=t, w=w, m=m, ridge=ridge) -> float:  # type: ignore[no-untyped-def]
            z = F @ x + o
            g = z if of.link == "identity" else 1 / (1 + np.exp(-z))
            of_pairs = of.w0 * ((S @ x + offset) ** 2).sum()
            return float(w @ (t - g) ** 2 + of_pairs + ridge * ((x - m) ** 2).sum())

        x = of.X[row] @ Q
        g, slope = F @ x + o, np.ones(len(F))
        if of.link == "logistic":
            g = 1 / (1 + np.exp(-g))
            slope = g * (1 - g)
        r = F.T @ (w * slope * (t - g)) - of.w0 * S.T @ (S @ x + offset) - ridge * (x - m)
        A = F.T @ ((w * slope**2)[:, None] * F) + of.w0 * S.T @ S + ridge * np.eye(k)
        # conjugate gradients, preconditioned by the diagonal of what is not of the ratings
        M = ridge + diagonal
        move, p = np.zeros(k), r / M
        for _ in range(steps):
            length = (r @ (r / M)) / (p @ A @ p)
            move, after = move + length * p, r - length * (A @ p)
            p = after / M + (after @ (after / M)) / (r @ (r / M)) * p
            r = after
            if np.abs(r).max() < 1e-13:  # there
                break
        move *= relaxation
        if of.link == "logistic":
            for halving in range(4):
                if loss(x + move) > loss(x):
                    move = move / 2 if halving < 3 else 0 * move
        found.append(Q @ (x + move))
        objective += loss(x + move)
        penalty += ridge * ((x + move - m) ** 2).sum()
    return Half(np.array(found), objective, penalty)  # type: ignore[arg-type]


@pytest.mark.parametrize("relaxation", [1.0, 1.3])
@pytest.mark.parametrize("prior", [False, True], ids=["plain", "mean and offset"])
@pytest.mark.parametrize(("w0", "basis"), [(0.0, False), (0.05, False), (0.05, True)])
def test_each_vector_takes_the_steps_of_conjugate_gradients(
    w0: float, basis: bool, prior: bool, relaxation: float
) -> None:
    """Two in the eigenbasis; one more where there is a sum over all pairs and no basis."""
    of = problem(w0, prior)
    found = solved(of, relaxation, 2, 10**9 if basis else -(10**9))
    expected = by_hand(of, relaxation, 3 if w0 and not basis else 2, basis)
    np.testing.assert_allclose(found.X, expected.X, rtol=1e-9, atol=1e-12)
    assert found.objective == pytest.approx(expected.objective, rel=1e-12)
    assert found.penalty == pytest.approx(expected.penalty, rel=1e-12)


@pytest.mark.parametrize("prior", [False, True], ids=["plain", "mean and offset"])
@pytest.mark.parametrize("spread", [1.0, 3.0, 12.0])
def test_a_step_along_the_logistic_function_is_halved_until_it_descends(
    prior: bool, spread: float
) -> None:
    """The farther out a vector is, the flatter its function, and the longer its step.

    Of those without a prior that are 12 away one is halved twice, one three times, and one is left
    where it is.
    """
    of = problem(0.0, prior, "logistic", spread)._replace(ridge=np.full(VECTORS - 1 + prior, 1e-5))
    found, expected = solved(of, 1.0, 3, -1), by_hand(of, 1.0, 3, basis=False)
    np.testing.assert_allclose(found.X, expected.X, rtol=1e-7, atol=1e-9)
    assert found.objective == pytest.approx(expected.objective, rel=1e-9)


def test_objectives_are_added_in_double_precision() -> None:
    """2^26 and 63 ones: single precision adds nothing to 2^26 that is below 4."""
    one = np.arange(64, dtype=np.int32)
    targets = np.where(one == 0, 2.0**13, 1.0).astype(np.float32)
    order, ones = order_vectors(one, 64, empty=False), np.ones(64, np.float32)
    shards = lay_out_vectors(one, 0 * one, targets, ones, order, ones, None)
    nowhere = jnp.zeros((64, 2), jnp.float32)
    with ThreadPoolExecutor(1) as pool:
        half = solve(shards, nowhere, hold(shards, nowhere, None, 0.0), pool)
    assert half.objective == 2**26 + 63


CPU, GPU = SimpleNamespace(platform="cpu"), SimpleNamespace(platform="gpu")


def moments(columns: int, dtype: type = np.float64) -> tuple[Any, ...]:
    return np.eye(columns, dtype=dtype), np.zeros(columns, dtype), np.zeros((), dtype)


def chosen(columns: int, others: int, vectors: int, ratings: int, device: Any = CPU) -> bool:
    """Is the eigenbasis taken?"""
    how = (others, columns), np.dtype(np.float64), moments(columns), 1.0
    return over_all_pairs(*how, vectors, ratings, device).basis is not None


@pytest.mark.parametrize(
    ("columns", "others", "vectors", "ratings"),
    # k^2 (others + 2 vectors) + 5 k^3 multiplications with it, 2 k ratings + 4 k^2 vectors without
    [(4, 10, 4, 44), (4, 20, 1, 76), (6, 1, 1, 87)],
)
def test_the_eigenbasis_is_taken_where_it_costs_no_more(
    columns: int, others: int, vectors: int, ratings: int
) -> None:
    assert chosen(columns, others, vectors, ratings)
    assert not chosen(columns, others, vectors, ratings - 1)


def test_a_gramian_that_several_threads_would_read_is_not_read_on_a_cpu() -> None:
    """Half a megabyte of it."""
    assert not chosen(255, 1, 1, 0)
    assert chosen(256, 1, 1, 0)
    assert not chosen(256, 1, 1, 0, GPU)


def test_in_the_eigenbasis_no_pair_counts_less_than_nothing() -> None:
    """A Gramian of one vector has eigenvalues 0, some of which come out below."""
    f = np.random.default_rng(0).normal(size=8)
    own = np.outer(f, f), 2 * f, np.array(4.0)
    held = over_all_pairs((1, 8), np.dtype(np.float64), own, 0.5, 1, 10**6, CPU)  # type: ignore[arg-type]
    assert held.basis is not None
    assert held.pairs.min() == 0
    assert held.pairs.max() == pytest.approx(0.5 * f @ f)
    np.testing.assert_allclose(held.basis @ held.linear, f)
    assert held.constant == 2.0


def test_moments_that_are_not_finite_stop_the_fit() -> None:
    own = np.full((2, 2), np.nan), np.zeros(2), np.zeros(())
    with pytest.raises(FloatingPointError, match="the factors are not finite"):
        over_all_pairs((3, 2), np.dtype(np.float64), own, 1.0, 1, 10**6, CPU)  # type: ignore[arg-type]


def test_without_pairs_there_is_nothing_to_hold() -> None:
    held = over_all_pairs((3, 2), np.dtype(np.float32), None, 0.0, 1, 1, CPU)
    assert held.constant == 0.0
    assert held.pairs.tolist() == held.linear.tolist() == [0.0, 0.0]
    assert held.pairs.dtype == np.float32


def test_on_a_cpu_a_shard_is_marked_to_be_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the marks the result is the same, four times later."""
    asked: list[bool] = []
    original = half_sweep.over_parts

    def over_parts(program: Any, vectors: Any, tiles: Any, in_one_function: bool) -> Any:
        asked.append(in_one_function)
        return original(program, vectors, tiles, in_one_function)

    monkeypatch.setattr(half_sweep, "over_parts", over_parts)
    jax.clear_caches()
    of = problem(0.2, prior=False)
    solved(of, 1.0, 2, -1)
    assert asked == [True]
    shards = lay_out_vectors(
        of.vectors, of.columns, of.targets, of.weights,
        order_vectors(of.vectors, len(of.X), empty=True), of.ridge, None,
    )  # fmt: skip

    def marks(in_one_function: bool) -> list[bool]:
        def program(x: Any, tiles: Any) -> Any:
            return x + tiles.chunks.sum()

        whole = jax.jit(lambda x: original(program, x, shards.tiles[0], in_one_function))
        text = whole.lower(jnp.zeros(shards.size)).as_text()
        return [mark in text for mark in ('inlineable = "false"', 'xla_cpu_small_call = "true"')]

    assert marks(True) == [True, True]
    assert marks(False) == [False, False]


def first_sweep(of: Observed, users: int, items: int, settings: PmfSettings, cg: int, over: float):  # type: ignore[no-untyped-def]
    """U and V after V is solved for a random U, and one sweep."""
    k, link = settings.factors, "logistic" if settings.likelihood == "logistic" else "identity"
    U = np.random.default_rng(42).normal(0, k**-0.5, (users, k))

    def half(X, S, vectors, columns, side, relaxation):
        ridge = ridges(np.bincount(vectors, minlength=len(X)), len(S), settings, side)
        entries = vectors, columns, of.targets, of.weights
        own = Problem(X, S, *entries, ridge, settings.w0, link=link)
        return by_hand(own, relaxation, cg, basis=settings.w0 > 0).X

    V = half(np.zeros((items, k)), U, of.items, of.users, "items", 1.0)
    U = half(np.zeros((users, k)), V, of.users, of.items, "users", over)
    return U, half(V, U, of.items, of.users, "items", over)


@pytest.mark.parametrize(
    ("likelihood", "steps", "overshot"),
    [("gaussian", 5, 1.3), ("logistic", 3, 1.0), ("all-pairs", 2, 1.3)],
)
def test_a_sweep_takes_so_many_steps_and_overshoots_them(
    likelihood: str, steps: int, overshot: float
) -> None:
    """Whatever else: these were measured, see benchmarks/LOG.md."""
    k = 8  # more than the steps, so that each of them tells; the eigenbasis pays
    rng = np.random.default_rng(1)
    users, items = np.nonzero(rng.random((30, 25)) < 0.7)
    pairs = Observed(
        users.astype(np.int32), items.astype(np.int32), rng.random(len(users)), np.ones(len(users))
    )
    w0 = 0.1 if likelihood == "all-pairs" else 0.0
    settings = PmfSettings(likelihood, k, 0.3, nu=0.5, w0=w0, sweeps=1, float64=True)
    (U, V), _ = fit_pmf(pairs, 30, 25, settings)
    expected = first_sweep(pairs, 30, 25, settings, steps, overshot)
    np.testing.assert_allclose(U, expected[0], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(V, expected[1], rtol=1e-7, atol=1e-9)
