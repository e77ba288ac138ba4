"""What there is to compute on, by hand and on one device; `tests/pmf/mesh` has many."""

import threading
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from threadpoolctl import threadpool_info

from jaxrec import devices
from jaxrec.devices import Cores, Mesh, added_up, one_program_at_a_time, placement, workers

ONE = Mesh.of(jax.devices()[:1])


def test_cores_give_what_is_made_of_each_block_in_order() -> None:
    for parallel in (1, 2):
        assert Cores(parallel).each(lambda block: block + 1, range(9)) == [*range(1, 10)]


def test_two_cores_work_at_once_and_numpy_on_one_in_each() -> None:
    both = threading.Barrier(2)

    def work(_: int) -> list[int]:
        both.wait(timeout=60)
        found = [of for of in threadpool_info() if of["user_api"] == "blas"]
        return [of["num_threads"] for of in found if "numpy" in of["filepath"]]

    assert {threads for of in Cores(2).each(work, [0, 1]) for threads in of} <= {1}


@pytest.mark.parametrize(("parallel", "blocks"), [(1, 2), (2, 1)])
def test_what_is_one_after_the_other_is_in_the_thread_that_asks(parallel: int, blocks: int) -> None:
    found = Cores(parallel).each(lambda _: threading.current_thread(), range(blocks))
    assert found == [threading.current_thread()] * blocks


def fakes(platform: str, count: int) -> list[Any]:
    return [SimpleNamespace(platform=platform, id=number) for number in range(count)]


def test_an_accelerator_is_one_worker_and_the_cpu_one_a_core(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "cores", lambda: range(3))
    cpu, (one, *more) = fakes("cpu", 2), fakes("gpu", 3)
    monkeypatch.setattr(jax, "local_devices", lambda: cpu)
    assert workers() == [cpu[0]] * 3
    assert placement() == Cores(3)
    with one_program_at_a_time():
        with one_program_at_a_time():
            assert placement() == Cores(1)
        assert workers() == [cpu[0]]
    assert placement() == Cores(3)
    monkeypatch.setattr(jax, "local_devices", lambda: [one])
    assert placement() == Cores(1)
    monkeypatch.setattr(jax, "local_devices", lambda: [one, *more])
    monkeypatch.setattr(Mesh, "of", lambda devices: ("mesh", devices))
    assert placement() == ("mesh", [one, *more])


def test_a_mesh_of_one_device_holds_all() -> None:
    assert (ONE.size, ONE.parallel, ONE.own, ONE.processes) == (1, 1, [0], [0])
    whole = np.arange(12.0, dtype=np.float32).reshape(1, 6, 2)
    cut = ONE.cut({"rows": whole})["rows"]
    assert np.array_equal(cut, whole[0])
    assert np.array_equal(ONE.parts(cut), whole)
    assert np.array_equal(ONE.whole(cut), whole[0])
    assert np.array_equal(ONE.spread(whole[0], 1), whole[0])


@pytest.mark.parametrize(("rows", "filled"), [(5, [0, 1, 2, 3, 4, 4, 4, 4]), (4, [0, 1, 2, 3])])
def test_the_last_entry_is_repeated_until_each_device_has_as_many(
    rows: int, filled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four devices, along either axis."""
    monkeypatch.setattr(devices, "NamedSharding", lambda mesh, spec: spec)
    monkeypatch.setattr(jax, "device_put", lambda array, sharding: (array, tuple(sharding)))
    four: Any = SimpleNamespace(size=4)
    array = np.stack([np.arange(rows), 10 + np.arange(rows)])
    found, cut = Mesh(four).spread(array, 1)
    assert found.tolist() == [filled, [10 + entry for entry in filled]]
    assert cut == (None, "devices")
    found, cut = Mesh(four).spread(array.T, 0)
    assert found[:, 0].tolist() == filled
    assert cut == ("devices",)


def test_one_process_has_the_sum_the_largest_and_each() -> None:
    values = np.array([3.0, 1 + 2**-50])
    assert ONE.summed(values).tolist() == ONE.largest(values).tolist() == values.tolist()
    assert ONE.of_each([2**40, 1]).tolist() == [[2**40, 1]]
    numbers = {"a": 2, "b": (0.5, 3)}
    assert added_up(numbers, None) is numbers
    assert added_up(numbers, ONE) == numbers
