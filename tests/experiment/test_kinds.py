"""Likes and counts: every row works end to end, and ranks better than chance."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxrec.border.lesson import LessonSettings
from jaxrec.data.dataset import Dataset
from jaxrec.data.feedback import Feedback
from jaxrec.errors import InputError
from jaxrec.evaluation.card import AbsentRow
from jaxrec.evaluation.task import evaluation_task
from jaxrec.experiment.fitting import DEFAULTS, pmf_settings_of, train_pmf, write_lesson
from jaxrec.experiment.folder import RunFolder, open_run
from jaxrec.experiment.rows import rows_of
from jaxrec.experiment.scoring import score_card
from jaxrec.files import write_json
from jaxrec.sources.synthetic import synthetic_dataset


def likes() -> Dataset:
    """What is liked in synthetic data, all values 1, at no time."""
    made = synthetic_dataset(users=80, items=200)
    liked = made.interactions.liked(made.feedback)
    liked = liked._replace(values=np.ones(len(liked.users)), times=None)
    return replace(made, interactions=liked, feedback=Feedback("likes"))


def counts() -> Dataset:
    """The same users, who use more often what they like better, by orders of magnitude."""
    made = synthetic_dataset(users=80, items=200)
    values = np.rint(np.exp(1.3 * made.interactions.values)).astype(np.float64)
    interactions = made.interactions._replace(values=values)
    meaning = Feedback.of("counts", *np.unique(values, return_counts=True))
    return replace(made, interactions=interactions, feedback=meaning)


KINDS = {"likes": likes, "counts": counts}


@pytest.fixture(params=KINDS)
def open_kind(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], RunFolder]:
    monkeypatch.setattr("jaxrec.sources.library.synthetic_dataset", KINDS[request.param])

    def opened(protocol: str) -> RunFolder:
        run = open_run(tmp_path / "run", "synthetic", protocol, seed=1)
        for row in ("pmf", "text", "pmf+text"):
            write_json(run.tuned_path(row), {"settings": {"factors": 8, "sweeps": 5}})
        return run

    return opened


def chance(run: RunFolder) -> float:
    """Precision of lists that are drawn."""
    task = evaluation_task(run.dataset, run.protocol)
    seen = np.zeros((run.dataset.users, run.dataset.items), bool)
    seen[np.repeat(np.arange(run.dataset.users), task.seen.lengths), task.seen.items] = True
    unseen = (task.catalogue & ~seen).sum(axis=1)
    asked = task.relevant.lengths > 0
    return float(np.mean(task.relevant.lengths[asked] / unseen[asked]))


@pytest.mark.parametrize("protocol", ["strict", "cold-items", "cold-users"])
def test_every_row_beats_chance(open_kind: Callable[[str], RunFolder], protocol: str) -> None:
    run = open_kind(protocol)
    train_pmf(run, pmf_settings_of(run))
    rows = [row.name for row in rows_of(run) if row.name != "hybrid" or protocol == "strict"]
    card = score_card(run, (10,), only=tuple(rows))
    for name, row in card.measured.items():
        assert row.figures.metrics["precision@10"] > chance(run), name
    found = {row.name: row.why for row in card.rows if isinstance(row, AbsentRow)}
    found.pop("ials", None)  # where irspack is absent
    if run.dataset.feedback.kind == "likes":
        assert found.pop("ease-graded") == "likes have no grades: it would be ease again"
        assert found.pop("ease-graded+text") == "likes have no grades: it would be ease+text again"
    assert set(found.values()) <= {"it scores every cold item alike"}
    assert bool(found) == (protocol == "cold-items")


@pytest.mark.parametrize("kind", ["disliked", "profile"])
def test_what_needs_dislikes_is_refused(
    open_kind: Callable[[str], RunFolder], tmp_path: Path, kind: str
) -> None:
    run = open_kind("strict")
    with pytest.raises(InputError, match=rf"in these {run.dataset.feedback.kind}.*--loss info-nce"):
        write_lesson(run, tmp_path / "lesson", "honest", LessonSettings(kind, per_user=2))
    card = write_lesson(run, tmp_path / "lesson", "honest", LessonSettings("liked", per_user=2))
    assert card["examples"] > 0


@pytest.mark.parametrize("likelihood", ["gaussian", "logistic"])
def test_likelihoods_of_stars_are_refused(
    open_kind: Callable[[str], RunFolder], likelihood: str
) -> None:
    with pytest.raises(InputError, match=f"the {likelihood} likelihood is one of stars.*all-pairs"):
        train_pmf(open_kind("strict"), DEFAULTS[likelihood])
