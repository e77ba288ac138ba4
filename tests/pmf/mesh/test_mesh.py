"""A mesh gives the factors that cores give, however many devices and processes it has."""

import itertools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings as examples
from hypothesis import strategies as st

from jaxrec.devices import Mesh
from jaxrec.errors import InputError
from jaxrec.pmf import fit
from jaxrec.pmf.fit import fit_pmf
from jaxrec.pmf.mesh.fit import _Fit
from jaxrec.pmf.mesh.layout import lay_out_on
from jaxrec.pmf.mesh.traffic import flops, memory, of_sweep
from jaxrec.pmf.objective import Observed, PmfSettings, ridges
from jaxrec.pmf.sweeps import Checkpoints
from tests.pmf.mesh.problem import ALL_PAIRS, CASES, ITEMS, USERS, gap, given, pairs
from tests.pmf.test_half_sweep import by_hand, problem

CLOSE = 1e-5
"""Relative, of factors after 15 sweeps in double precision, where rounding does not blur it."""


def environment(devices: int) -> dict[str, str]:
    flags = f"--xla_force_host_platform_device_count={devices}"
    return os.environ | {"XLA_FLAGS": flags}


@pytest.fixture(scope="module")
def on_eight() -> list[Any]:
    """What `many_devices` prints."""
    program = [sys.executable, "-m", "tests.pmf.mesh.many_devices"]
    done = subprocess.run(
        program, env=environment(8), capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_factors_are_those_of_cores_on_any_number_of_devices(on_eight: list[Any]) -> None:
    gaps: dict[str, list[float]] = on_eight[0]
    assert len(gaps) == 12
    assert {name: found for name, found in gaps.items() if max(found) > CLOSE} == {}


def test_the_compiled_collectives_are_those_on_paper(on_eight: list[Any]) -> None:
    whole, cut = on_eight[1:3]
    assert whole["users"][2] == 1
    assert cut["users"][2] == 3
    for half in (*whole.values(), *cut.values()):
        compiled, on_paper, _ = half
        assert compiled == on_paper
    compiled, on_paper = on_eight[7]
    assert compiled == on_paper


def test_the_compiled_programs_hold_what_the_formula_says(on_eight: list[Any]) -> None:
    """Padding of the layout and of items, 12 %, is not in the formula."""
    for compiled, on_paper, tiles in on_eight[6]:
        assert on_paper < compiled < 1.2 * on_paper, tiles
    assert [tiles for _, _, tiles in on_eight[6]] == [1, 3]


def test_blocks_of_users_are_ranked_by_all_devices_as_by_one(on_eight: list[Any]) -> None:
    assert on_eight[3] == [8, True]


def test_the_set_model_shares_a_batch_out_over_all_devices(on_eight: list[Any]) -> None:
    gaps, *where = on_eight[4]
    assert max(gaps) < 1e-4
    assert where == [True, False, True]


def test_the_gate_learns_from_users_on_all_devices(on_eight: list[Any]) -> None:
    away, used, winners = on_eight[5]
    assert away < 1e-3  # L-BFGS in single precision
    assert used == 8
    assert winners == ["gate", "gate"]


def test_where_there_are_several_accelerators_a_fit_is_on_a_mesh_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Mesh] = []

    def fit_on(mesh: Mesh, *given: Any) -> Any:
        asked.append(mesh)
        return original(mesh, *given)

    original = fit.fit_on
    monkeypatch.setattr(fit, "usual_placement", lambda: ONE)
    monkeypatch.setattr(fit, "fit_on", fit_on)
    fit_pmf(pairs(), USERS, ITEMS, ALL_PAIRS)
    assert asked == [ONE]


def run_together(folder: Path, cuts: list[int], wanted: list[tuple]) -> list[list[Any]]:
    """What each of `wanted` gives on so many processes as `cuts` make; see `problem.main`."""
    count = len(cuts) - 1
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    program = [sys.executable, "-m", "tests.pmf.mesh.problem"]
    processes = [
        subprocess.Popen(
            [*program, json.dumps([port, count, number, cuts, str(folder), wanted])],
            env=environment(1),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    try:
        errors = [process.communicate(timeout=900)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert not any(process.returncode for process in processes), errors
    return [
        [np.load(folder / f"{name}-{number}.npz") for number in range(count)] for name, *_ in wanted
    ]


@pytest.fixture(scope="module")
def on_cores() -> dict[str, Any]:
    """The same fits on cores."""
    found = {}
    for case, (settings, _) in CASES.items():
        options: dict[str, Any] = given(case)
        found[case] = fit_pmf(pairs(), USERS, ITEMS, settings, **options)
    return found


def test_several_processes_give_the_factors_of_one_and_resume_as_fewer(
    tmp_path: Path, on_cores: dict[str, Any]
) -> None:
    """One process has no user, one few, and the checkpoint of four goes on on two."""
    cuts = [0, 7, 9, 9, USERS]
    four = [("means", "biases and means", 15, False), ("begun", "all-pairs", 6, True)]
    means, _ = run_together(tmp_path, cuts, four)
    two = [("ended", "all-pairs", 15, True), ("text", "text", 15, False)]
    ended, text = run_together(tmp_path, [0, 20, USERS], two)
    assert [list(own["told"][:2]) for own in ended] == [[6, 7]] * 2
    for found, case in ((means, "biases and means"), (ended, "all-pairs"), (text, "text")):
        (U, V), losses = on_cores[case]
        assert gap(np.concatenate([own["U"] for own in found]), U) < CLOSE
        for own in found:
            assert gap(own["V"], V) < CLOSE
            np.testing.assert_allclose(own["losses"], losses, rtol=1e-9)


ONE = Mesh.of(jax.devices()[:1])


@examples(max_examples=12)
@drawn(st.data())
def test_any_matrix_any_likelihood_reports_the_objective_of_its_factors(
    data: st.DataObject,
) -> None:
    users, items = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    n = data.draw(st.integers(1, 12))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    likelihood = data.draw(st.sampled_from(["all-pairs", "gaussian", "logistic"]))
    w0 = 0.1 if likelihood == "all-pairs" else 0.0
    settings = PmfSettings(likelihood, factors=3, sweeps=3, w0=w0, float64=True)
    of = Observed(
        rng.integers(0, users, n).astype(np.int32),
        rng.integers(0, items, n).astype(np.int32),
        rng.random(n),
        rng.random(n) + 0.1,
    )
    (U, V), losses = fit_pmf(of, users, items, settings, placement=ONE)
    x = U @ V.T
    g = 1 / (1 + np.exp(-x)) if likelihood == "logistic" else x
    loss = (of.weights * (of.targets - g[of.users, of.items]) ** 2).sum() + w0 * (x**2).sum()
    for X, ids, others, side in ((U, of.users, items, "users"), (V, of.items, users, "items")):
        weight = ridges(np.bincount(ids, minlength=len(X)), others, settings, side)
        loss += (weight * (X**2).sum(axis=1)).sum()
    assert losses[-1] == pytest.approx(loss, rel=1e-9)
    assert all(after <= before * (1 + 1e-9) for before, after in itertools.pairwise(losses))


@pytest.mark.parametrize("tiles", [1, 3])
@pytest.mark.parametrize("spread", [1.0, 12.0])
def test_on_a_mesh_each_step_is_halved_until_it_descends(spread: float, tiles: int) -> None:
    """Of vectors that are 12 away some are halved, one until it is left where it is."""
    of = problem(0.0, False, "logistic", spread)
    of = of._replace(ridge=np.full(len(of.X), 1e-5))
    settings = PmfSettings("logistic", factors=of.S.shape[1], w0=0.0, float64=True)
    observed, shape = (
        Observed(of.columns, of.vectors, of.targets, of.weights),
        (len(of.S), len(of.X)),
    )
    with jax.enable_x64(True):
        of_a_tile = of.X.nbytes // tiles
        means = None, None
        layout = lay_out_on(ONE, observed, shape, settings, means, np.float64, of_a_tile)
        users, items = layout.users, layout.items
        assert items.tiles == tiles
        X, ridge = (items.spread(side[items.order.vectors]) for side in (of.X, of.ridge))
        U = ONE.cut(users.spread(of.S[users.order.vectors]))
        rows, on_mesh = layout.V_rows._replace(ridge=ONE.cut(ridge)), _Fit(ONE, layout, settings)
        V, objective, _ = on_mesh.items(ONE.cut(X), rows, U, relaxation=1.0)
        found, total = items.gathered(np.asarray(V)), np.asarray(objective).sum()
    expected = by_hand(of, 1.0, 3, basis=False)
    np.testing.assert_allclose(found, expected.X[items.order.vectors], rtol=1e-7, atol=1e-9)
    assert total == pytest.approx(expected.objective, rel=1e-9)


def test_a_fit_goes_on_from_its_checkpoint_unless_that_is_damaged(tmp_path: Path) -> None:
    told: list[int] = []

    def on_one(sweeps: int) -> Any:
        return fit_pmf(
            pairs(),
            USERS,
            ITEMS,
            ALL_PAIRS._replace(sweeps=sweeps),
            checkpoints=Checkpoints(tmp_path / "kept", {}, every=0.0),
            on_sweep=lambda sweep, _: told.append(sweep),
            placement=ONE,
        )

    on_one(2)
    (U, V), losses = on_one(3)
    assert told == [1, 2, 2, 3]
    (U_whole, V_whole), whole = fit_pmf(
        pairs(), USERS, ITEMS, ALL_PAIRS._replace(sweeps=3), placement=ONE
    )
    assert max(gap(U, U_whole), gap(V, V_whole)) < CLOSE
    np.testing.assert_allclose(losses, whole, rtol=1e-9)
    file = next(path for path in (tmp_path / "kept" / "sweep-3").rglob("*") if path.is_file())
    file.write_bytes(file.read_bytes() + b"?")
    with pytest.raises(InputError, match="not as it was written; delete"):
        on_one(4)


def test_what_a_mesh_does_not_do_is_refused() -> None:
    with pytest.raises(InputError, match="a mesh of devices is for the alternating solver"):
        fit_pmf(pairs(), USERS, ITEMS, ALL_PAIRS._replace(solver="gradient"), placement=ONE)
    nothing = jax.tree.map(lambda column: column[:0], pairs())
    with pytest.raises(InputError, match="no observed pairs"):
        fit_pmf(nothing, USERS, ITEMS, ALL_PAIRS, placement=ONE)


def test_what_moves_does_not_grow_with_users() -> None:
    """By hand: 40 items of 8 columns on 4 devices, 2 steps, 4 bytes."""
    sent = sum(moved.sent(4, 4) for moved in of_sweep(40, 8, 1, 2, all_pairs=True))
    assert sent == 3 / 4 * 4 * (40 * 8 * 7 + 40 + 4 * 8**2)
    assert flops(10, 8, 2) == 2 * 3 * 4 * 8 * 10
    vectors = 3 * 5 + 6 * 40 / 4 + 2 * 40
    assert memory(10, 5, 40, 8, 4, 1, 4) == 2 * 10 * (4 + 4 + 4) + 4 * 8 * vectors
    vectors = 3 * 5 + 6 * 40 / 4 + 2 * 40 / 2
    assert memory(10, 5, 40, 8, 4, 2, 4) == 4 * 10 * (4 + 4 + 4) + 4 * 8 * vectors
