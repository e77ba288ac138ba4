"""Many requests, few compiled calls."""

from concurrent.futures import wait
from typing import Any

import numpy as np

from jaxrec.topk import ranking
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


def test_nothing_is_compiled_for_a_request(service: Service) -> None:
    programs: Any = ranking._rank_unseen
    before, ready = programs._cache_size(), service.ready
    for n in (1, 5, 40):
        asked = [service.worker.recommend(ready, ready.user(user), n) for user in range(n)]
        asked += [service.worker.recommend(ready, ready.somebody([n, 9]), n) for _ in range(n)]
        wait(asked)
    assert programs._cache_size() == before


def test_what_waits_is_answered_before_the_end(service: Service) -> None:
    worker = Worker()
    asked = [worker.recommend(service.ready, service.ready.user(user), 3) for user in range(20)]
    worker.close()
    assert all(future.done() for future in asked)
