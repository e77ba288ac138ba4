"""A program with eight devices, that prints as JSON how far fits on them are from those on cores,
and the collectives of its programs beside the formula.
"""

import contextlib
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy import sparse

from jaxrec.devices import Cores, Mesh
from jaxrec.fusion import learning as fusing
from jaxrec.fusion.gate import familiarity
from jaxrec.fusion.learning import Part, learn_fusion
from jaxrec.pmf.fit import fit_pmf
from jaxrec.pmf.mesh import fit as mesh_fit
from jaxrec.pmf.mesh.halves import How
from jaxrec.pmf.mesh.traffic import Moved, memory, of_items, of_sweep, of_users
from jaxrec.pmf.objective import Observed, PmfSettings
from jaxrec.pmf.sweeps import Checkpoints
from jaxrec.sets import learning
from jaxrec.sets.learning import learn_vectors
from jaxrec.sets.vectors import SetSettings
from jaxrec.topk.blocks import over_users
from jaxrec.topk.item_sets import ItemSets
from jaxrec.topk.scorer import product
from tests.fusion.test_gate import planted, tables
from tests.pmf.mesh.problem import CASES, ITEMS, USERS, K, gap, given, pairs

FEW_BYTES = 400
"""For item vectors: three tiles of them on two devices."""


def fit(case: str, devices: int | None, observed: Observed | None = None, **options: Any) -> Any:
    """On so many devices, or on cores."""
    place = None if devices is None else Mesh.of(jax.devices()[:devices])
    observed = pairs() if observed is None else observed
    options |= given(case)
    return fit_pmf(observed, USERS, ITEMS, CASES[case][0], placement=place, **options)


def compared(case: str, devices: int, observed: Observed | None = None) -> list[float]:
    """Relative differences of U, V and the last objective from those on cores."""
    (U, V), losses = fit(case, None, observed)
    (U_found, V_found), found = fit(case, devices, observed)
    return [gap(U_found, U), gap(V_found, V), abs(found[-1] / losses[-1] - 1)]


def resumed() -> list[float]:
    """Interrupted on three devices, gone on with on two."""
    (U, V), losses = fit("all-pairs", None)

    def stop(sweep: int, loss: float) -> None:
        if sweep == 5:
            raise KeyboardInterrupt

    told: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept"
        with contextlib.suppress(KeyboardInterrupt):
            fit("all-pairs", 3, checkpoints=Checkpoints(kept, {}), on_sweep=stop)
        (U_found, V_found), found = fit(
            "all-pairs",
            2,
            checkpoints=Checkpoints(kept, {}),
            on_sweep=lambda sweep, _: told.append(sweep),
        )
    assert told[0] == 5, told
    return [gap(U_found, U), gap(V_found, V), abs(found[-1] / losses[-1] - 1)]


def collectives(program: str, computation: str) -> Counter:
    """(kind, numbers of all devices) -> how often they run, of compiled text."""
    found: Counter = Counter()
    body = re.search(rf"^(?:ENTRY )?%?{re.escape(computation)} .*?^}}", program, re.M | re.S)
    assert body, computation
    for line in body.group().splitlines()[1:]:
        kind = re.search(r"= \w+\[([\d,]*)\]\S* (all-gather|reduce-scatter|all-reduce)\(", line)
        if kind:
            numbers = int(np.prod([int(n) for n in kind.group(1).split(",") if n]))
            groups = re.search(r"replica_groups=\{\{([\d,]*)", line)
            assert groups, line
            whole = len(groups.group(1).split(",")) if kind.group(2) == "reduce-scatter" else 1
            found[kind.group(2), numbers * whole] += 1
        for called in re.findall(r"(?:body|to_apply|calls)=%?([\w.\-]+)", line):
            often = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
            inside = collectives(program, called)
            if inside:
                assert often or "while(" not in line, line
                for what, count in inside.items():
                    found[what] += count * (int(often.group(1)) if often else 1)
    return found


def halves(
    observed: Observed,
    shape: tuple[int, int],
    settings: PmfSettings,
    gathered: int,
    seen: Callable[[str, Any, Any, How], None],
) -> None:
    """A sweep on two devices; `seen` gets each half's name, compiled program, arguments and how."""
    mesh, originals = Mesh.of(jax.devices()[:2]), (mesh_fit.solve_users, mesh_fit.solve_items)

    def watched(name: str, program: Any) -> Any:
        def call(*arguments: Any, how: How) -> Any:
            seen(name, program.lower(*arguments, how=how).compile(), arguments, how)
            return program(*arguments, how=how)

        return call

    mesh_fit.solve_users = watched("users", originals[0])
    mesh_fit.solve_items = watched("items", originals[1])
    rest = np.random.default_rng(0), (None, None), None, None, lambda *_: None
    try:
        mesh_fit.fit_on(mesh, observed, shape, settings._replace(sweeps=1), *rest, gathered)
    finally:
        mesh_fit.solve_users, mesh_fit.solve_items = originals


def traffic(gathered: int) -> dict[str, list]:
    """Of each half: its collectives as compiled, and as the formula has them."""
    found: dict[str, list] = {}

    def seen(name: str, compiled: Any, arguments: Any, how: How) -> None:
        text: str = compiled.as_text()
        entry = re.search(r"^ENTRY %?([\w.\-]+)", text, re.M)
        assert entry
        items = len(arguments[2 if name == "users" else 0])
        formula = {"users": of_users, "items": of_items}[name]
        on_paper: list[Moved] = formula(items, K, how.tiles, how.steps)
        found[name] = [
            sorted([*what, count] for what, count in collectives(text, entry.group(1)).items()),
            sorted(list(moved) for moved in on_paper),
            how.tiles,
        ]

    halves(pairs(), (USERS, ITEMS), CASES["gaussian"][0], gathered, seen)
    return found


def moments() -> list[list]:
    """The collectives of the sum over all pairs as compiled, and as the formula has them."""
    mesh = Mesh.of(jax.devices()[:2])
    given = mesh.cut((np.ones((2, 9, K)), np.ones((2, 9))))
    text = mesh_fit.moments.lower(*given, mesh=mesh, biases=False).compile().as_text() or ""
    entry = re.search(r"^ENTRY %?([\w.\-]+)", text, re.M)
    assert entry
    (on_paper,) = set(of_sweep(18, K, 1, 2, all_pairs=True)) - set(
        of_sweep(18, K, 1, 2, all_pairs=False)
    )
    of_both = collectives(text, entry.group(1)) + collectives(text, entry.group(1))
    return [[[*what, count] for what, count in of_both.items()], [list(on_paper)]]


def held(gathered: int) -> list[float]:
    """Bytes that a device's arrays take at most, as compiled and by the formula; and the tiles."""
    rng, shape, columns = np.random.default_rng(0), (1200, 600), 24
    drawn = np.flatnonzero(rng.random(shape) < 0.15)
    users, items = (part.astype(np.int32) for part in np.divmod(drawn, shape[1]))
    ones = np.ones(len(drawn))
    settings = PmfSettings(factors=columns, target="liked", float64=True)
    whole: list[float] = []
    laid, tiles = 2 * len(drawn) / 2 * (4 + 8 + 8), 1

    def seen(_: str, compiled: Any, __: Any, how: How) -> None:
        nonlocal tiles
        took, tiles = compiled.memory_analysis(), how.tiles
        sizes = took.argument_size_in_bytes, took.temp_size_in_bytes, took.output_size_in_bytes
        whole.append(sum(sizes) + laid / 2)  # the other side is laid out, too

    halves(Observed(users, items, ones, ones), shape, settings, gathered, seen)
    return [max(whole), memory(len(drawn) / 2, shape[0] / 2, shape[1], columns, 2, tiles, 8), tiles]


def ranked() -> list[Any]:
    """The devices that rank blocks of users, and whether the lists are those of one."""
    rng = np.random.default_rng(0)
    used: set[int] = set()
    scorer = product(rng.normal(size=(USERS, K)), rng.normal(size=(ITEMS, K)))
    seen = ItemSets(np.zeros(USERS + 1, np.int64), np.zeros(0, np.int32))

    def rank(block: np.ndarray, pairs: Any) -> Any:
        found = jax.jit(lambda scores, users: scores(users, None))(scorer, block)
        used.update(device.id for device in found.devices())
        return jax.lax.top_k(found, 5)[1]

    how = np.arange(USERS, dtype=np.int32), ITEMS, (seen,)
    on_all, on_one = over_users(rank, *how, place=Mesh.of()), over_users(rank, *how)
    return [len(used), bool((on_all == on_one).all())]


def set_model() -> list[Any]:
    """How far the set model's vectors are from those learned on one device; are the logits of all
    16 users of a batch on the only one, on one of eight, and those of two?
    """
    X = sparse.csr_array(np.random.default_rng(0).random((120, 19)) < 0.3, dtype=np.float32)
    seeds = np.random.default_rng(1).normal(size=(19, 4)).astype(np.float32)
    settings = SetSettings(dim=4, batch=16, epochs=2)
    module: Any = learning
    original, found, rows = module._step, [], list[set[int]]()

    def watched(*arguments: Any) -> Any:
        text = original.lower(*arguments).compile().as_text()
        rows[-1] |= {int(n) for n in re.findall(r"f(?:32|64)\[(\d+),19\]", text or "")}
        return original(*arguments)

    module._step, module.STEPS = watched, 7
    for place in (Cores(1), Mesh.of()):
        rows.append(set())
        module.placement = partial(lambda place: place, place)
        found.append(learn_vectors(X, X, seeds, settings, 0))
    gaps = [gap(getattr(found[1], name), getattr(found[0], name)) for name in ("inward", "right")]
    return [gaps, *(16 in of for of in rows), 2 in rows[1]]


def gate() -> list[Any]:
    """How far the gate's weights are from those learned on one device, from examples of 60 users
    who are cut over as many devices as the second figure says, and what won in both.
    """
    known, first, second = np.random.default_rng(4).normal(size=(3, 60, 80))
    counts = np.random.default_rng(5).integers(1, 400, 60)
    task, *_ = planted(np.where(counts[:, None] > 60, first, second) + 0.3 * known)
    part = Part(tables(first, second), familiarity(counts, np.full(80, 20)), task)
    module: Any = fusing
    original, found, used = module._learn, [], 0

    def watched(start: Any, of: Any, weight: Any) -> Any:
        nonlocal used
        used = len({shard.device for shard in of.z.addressable_shards})
        return original(start, of, weight)

    module._learn = watched
    for place in (Cores(1), Mesh.of()):
        module.placement = partial(lambda place: place, place)
        found.append(learn_fusion([part], seed=0))
    one, many = (np.concatenate([np.ravel(w) for w in fused.weights.values()]) for fused in found)
    return [gap(many, one), used, [fused.winner for fused in found]]


def main() -> None:
    """Everything, each in a line of its own as it is known."""
    users, items, targets, weights = pairs()
    one = Observed(users[:1], items[:1], targets[:1], weights[:1])
    gaps = {f"all-pairs on {devices}": compared("all-pairs", devices) for devices in (1, 2, 3, 8)}
    gaps |= {f"{case} on 3": compared(case, 3) for case in list(CASES)[1:]}
    gaps["one rating on 8"] = compared("all-pairs", 8, one)
    gaps["resumed"] = resumed()
    mesh_fit.fit_on.__defaults__ = (FEW_BYTES,)
    gaps |= {f"{case} in tiles": compared(case, 2) for case in ("biases and means", "logistic")}
    rest = ranked(), set_model(), gate(), [held(2**30), held(600 * 24 * 8 // 3)], moments()
    print(json.dumps([gaps, traffic(2**30), traffic(FEW_BYTES), *rest]))


if __name__ == "__main__":
    with jax.enable_x64(True):
        main()
