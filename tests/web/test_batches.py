"""Many requests, few compiled calls."""

from collections.abc import Callable
from concurrent.futures import wait
from functools import partial

import numpy as np
import pytest

from jaxrec.web.batches import Worker
from jaxrec.web.routes import Service


def test_those_who_wait_together_are_answered_together_and_alike(service: Service) -> None:
    ready, sizes = service.ready, list[int]()
    everybody = [ready.user(user) for user in range(90)]
    everybody += [ready.somebody([item, item + 1]) for item in range(30)]
    worker = Worker(sizes.append)
    try:
        single = [worker.recommend(ready, one, 10).result() for one in everybody]
        assert sizes == [1] * len(everybody)
        sizes.clear()
        together = [worker.recommend(ready, one, 10) for one in everybody]
        wait(together)
    finally:
        worker.close()
    assert sum(sizes) == len(everybody)
    assert len(sizes) <= 10
    for one, other in zip(single, (future.result() for future in together), strict=True):
        np.testing.assert_array_equal(one.items, other.items)
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-4, atol=1e-6)


def test_nothing_is_compiled_for_a_request(
    service: Service, compiled: Callable[[str], int], caplog: pytest.LogCaptureFixture
) -> None:
    ready, worker = service.ready, service.worker
    for n in (1, 5, 40):
        asked = [worker.recommend(ready, ready.user(user), 3 * n) for user in range(n)]
        asked += [worker.recommend(ready, ready.somebody(range(9, 10 + n)), 3) for _ in range(n)]
        asked += [worker.recommend(ready, ready.somebody([]), 3) for _ in range(n)]
        wait(asked)
        worker.call(partial(ready.model.similar, n, ready.length(n))).result()
    assert compiled(".*") == 0, [record.getMessage() for record in caplog.records]


def test_what_waits_is_answered_before_the_end(service: Service) -> None:
    worker = Worker()
    asked = [worker.recommend(service.ready, service.ready.user(user), 3) for user in range(20)]
    worker.close()
    assert all(future.done() for future in asked)
