"""Requests worked off by one thread: those that wait together share one compiled call.

No two programs run at once, and the event loop never waits for one.
"""

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from jaxrec.devices import one_program_at_a_time
from jaxrec.web.problems import Problem
from jaxrec.web.ready import Listed, One, Ready

MOST_WAITING = 1_000


class _Ask(NamedTuple):
    """For a list by one model; a batch is of one model, whichever has taken its place since."""

    ready: Ready
    one: One
    k: int
    found: "Future[Listed]"


class _Call(NamedTuple):
    """For anything else that computes."""

    work: Callable[[], Any]
    found: "Future[Any]"


class Worker:
    """One thread, and what waits for it."""

    def __init__(self, on_batch: Callable[[int], None] = lambda size: None):
        """`on_batch` is told of how many requests each batch is."""
        self._on_batch = on_batch
        self._jobs: SimpleQueue[_Ask | _Call | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="jaxrec-worker", daemon=True)
        self._thread.start()

    def recommend(self, ready: Ready, one: One, k: int) -> "Future[Listed]":
        """The best `k` items.

        Raises:
            Problem: too many wait already.
        """
        return self._put(_Ask(ready, one, k, Future()))

    def call(self, work: Callable[[], Any]) -> "Future[Any]":
        """What `work` returns, called in the thread.

        Raises:
            Problem: too many wait already.
        """
        return self._put(_Call(work, Future()))

    def close(self) -> None:
        """Work off what waits, and end."""
        self._jobs.put(None)
        self._thread.join()

    def _put(self, job: _Ask | _Call) -> "Future[Any]":
        if self._jobs.qsize() >= MOST_WAITING:
            raise Problem(503, "too many requests wait", "ask again in a second", retry_after=1)
        self._jobs.put(job)
        return job.found

    def _run(self) -> None:
        with one_program_at_a_time():
            job = self._jobs.get()
            while job is not None:
                if isinstance(job, _Call):
                    _settle([job.found], partial(_alone, job.work))
                    job = self._jobs.get()
                else:
                    job = self._batch(job)

    def _batch(self, first: _Ask) -> _Ask | _Call | None:
        """Answer all who wait with the first, and get the job that comes next.

        Nobody waits for others to come: who comes while a batch is worked off is of the next.
        """
        batch, ready = [first], first.ready
        while len(batch) < ready.sizes[-1]:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if not isinstance(job, _Ask) or job.ready is not ready:
                self._answer(batch)
                return job
            batch.append(job)
        self._answer(batch)
        return self._jobs.get()

    def _answer(self, batch: list[_Ask]) -> None:
        def answer() -> list[Listed]:
            found = batch[0].ready.lists([ask.one for ask in batch], max(ask.k for ask in batch))
            return [
                Listed(items[: ask.k], scores[: ask.k], bool(strange))
                for ask, items, scores, strange in zip(batch, *found, strict=True)
            ]

        self._on_batch(len(batch))
        _settle([ask.found for ask in batch], answer)


def _alone(work: Callable[[], Any]) -> list[Any]:
    return [work()]


def _settle(futures: "list[Future[Any]]", work: Callable[[], list[Any]]) -> None:
    """Give the futures what `work` returns, or its mistake."""
    live = [future.set_running_or_notify_cancel() for future in futures]
    try:
        results = work()
    except Exception as error:
        for future in (future for future, there in zip(futures, live, strict=True) if there):
            future.set_exception(error)
        return
    for future, there, result in zip(futures, live, results, strict=True):
        if there:
            future.set_result(result)
