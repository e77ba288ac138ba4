"""Searches: who judges, when a trial ends, when the defaults stay, and how long a short one is."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxrec.budget import Budget, Cost
from jaxrec.console.terminal import Terminal
from jaxrec.errors import InputError
from jaxrec.experiment import tuning
from jaxrec.experiment.choices import chosen_embeddings
from jaxrec.experiment.fitting import train_pmf
from jaxrec.experiment.folder import RunFolder, open_run
from jaxrec.experiment.rows import pmf_settings_of, rows_of
from jaxrec.experiment.tuning import (
    Beside,
    Trials,
    beside,
    short_search,
    threshold,
    tunable,
    tune,
    tune_all,
)
from jaxrec.files import sealed, write_json
from jaxrec.locks import held, of_run
from jaxrec.models.cost import Settings, Size
from jaxrec.models.model import Range
from jaxrec.models.registry import MODELS
from jaxrec.side_by_side import cores

pytestmark = [pytest.mark.usefixtures("small_synthetic"), pytest.mark.timeout(300)]
USERS = 400


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return open_run(tmp_path / "run", "synthetic", "strict", seed=1)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> dict[float, np.ndarray]:
    """By lambda of `ease` the figures of every judge, in two parts; the defaults' where absent."""
    figures = {200.0: np.random.default_rng(0).uniform(0, 1, USERS)}

    def of(trials: Trials, settings: dict[str, Any], goes_on: Callable[[list], None]) -> np.ndarray:
        own = figures.get(settings["lambda_"], figures[200.0])
        found = []
        for part in np.split(own, 2):
            found.append(part)
            goes_on(found)
        return own

    monkeypatch.setattr(Trials, "figures", of)
    return figures


def tried(monkeypatch: pytest.MonkeyPatch, *lambdas: float) -> None:
    model = MODELS["ease"]._replace(tried=tuple({"lambda_": value} for value in lambdas))
    monkeypatch.setitem(MODELS, "ease", model)


def taking(seconds: float, size: Size, settings: Settings) -> Cost:
    return Cost(0.0, seconds, 0.0)


@pytest.mark.parametrize("row", tunable())
def test_what_is_tried_first_lies_where_a_search_looks(row: str) -> None:
    model = MODELS[row]
    for settings in (model.settings, *(model.settings | other for other in model.tried)):
        for name, where in model.space.items():
            if isinstance(where, Range):
                assert where.low <= settings[name] <= where.high, (row, name)
            else:
                assert settings[name] in where
    assert all(set(other) <= set(model.space) for other in model.tried)


def test_the_defaults_stay_where_the_lead_may_be_chance(
    run: RunFolder, judged: dict[float, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(1).normal(0, 1, USERS)
    error = noise.std() / USERS**0.5
    judged[600.0] = judged[200.0] + noise - noise.mean() + 1.9 * error
    tried(monkeypatch, 600.0)
    card = tune(run, "ease", 2)
    assert (card["settings"]["lambda_"], card["lead"]) == (200.0, 0.0)
    judged[60.0] = judged[200.0] + noise - noise.mean() + 2.1 * error
    tried(monkeypatch, 60.0)
    card = tune(replace(run, path=run.path.with_name("other")), "ease", 2)
    assert card["settings"]["lambda_"] == 60.0
    assert card["lead"] == pytest.approx(2.1)
    assert card["validation_ndcg@25"] == pytest.approx(judged[60.0].mean())
    tried(monkeypatch, 60.0, 600.0)  # of two trials 2.1 is not enough
    card = tune(replace(run, path=run.path.with_name("both")), "ease", 3)
    assert card["settings"]["lambda_"] == 200.0


def test_what_is_tried_keeps_what_was_found(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[float, int]] = []

    def of(trials: Trials, settings: dict[str, Any], goes_on: Any) -> np.ndarray:
        told.append((settings["shrinkage"], settings["neighbours"]))
        return np.linspace(0, 0.1, USERS) + 0.1 * (settings["shrinkage"] == 30.0)

    model = MODELS["itemknn"]._replace(tried=({"shrinkage": 30.0}, {"neighbours": 300}))
    monkeypatch.setitem(MODELS, "itemknn", model)
    monkeypatch.setattr(Trials, "figures", of)
    monkeypatch.setattr(Trials, "lead", lambda trials, found: 100 * (np.mean(found[0]) - 0.05))
    tune(run, "itemknn", 3)
    assert told == [(0.65, 84), (30.0, 84), (30.0, 300)]


@pytest.mark.parametrize("trials", [1, 3, 14])
def test_chance_leads_as_rarely_however_many_trials_there_are(trials: int) -> None:
    best = np.random.default_rng(0).normal(size=(100_000, trials)).max(axis=1)
    assert np.mean(best > threshold(trials)) == pytest.approx(0.0228, abs=0.002)


def test_the_best_of_those_that_lead_for_sure_is_taken(
    run: RunFolder, judged: dict[float, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the one of the surest lead."""
    noise = np.random.default_rng(1).normal(0, 1, USERS)
    judged[600.0] = judged[200.0] + 0.01 + 0.001 * noise
    judged[60.0] = judged[200.0] + 0.5 + noise
    tried(monkeypatch, 600.0, 60.0)
    assert tune(run, "ease", 3)["settings"]["lambda_"] == 60.0


def test_a_trial_that_is_below_for_sure_ends(
    run: RunFolder, judged: dict[float, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first judges, whatever the others would say."""
    judged[600.0] = judged[200.0] + np.where(np.arange(USERS) < USERS // 2, -0.1, 10.0)
    judged[600.0][0] += 0.01  # else the lead has no error
    tried(monkeypatch, 600.0)
    card = tune(run, "ease", 2)
    assert (card["trials"], card["ended_early"]) == (2, 1)
    assert card["settings"]["lambda_"] == 200.0


def test_a_search_that_goes_on_knows_the_defaults(
    run: RunFolder, judged: dict[float, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried(monkeypatch, 60.0)
    tune(run, "ease", 1)
    noise = np.random.default_rng(1).normal(0, 1, USERS)
    judged[60.0] = judged[200.0] + 0.5 + noise
    assert tune(run, "ease", 2)["settings"]["lambda_"] == 60.0


def test_a_glance_goes_before_the_others(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "JUDGES", 50)
    monkeypatch.setattr(tuning, "GLANCE", 20)
    told: list[list[int]] = []

    def goes_on(found: list) -> None:
        told.append([len(part) for part in found])

    trials = Trials(run, "popularity")
    figures = trials.figures({}, goes_on)
    assert told == [[20], [20, 30]]
    assert figures.shape == (50,)
    whole = Trials(run, "popularity")
    whole.parts = [(inner, [tasks[0]]) for inner, tasks in whole.parts]
    np.testing.assert_array_equal(whole.figures({}, goes_on), figures[:20])


def test_every_row_has_the_same_time(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "MOST", 15)
    seconds = {"ease": 12.0, "pmf": 4.0, "rp3beta": 2.0, "itemknn": 0.1, "ease-graded": 81.9}
    for row, learning in seconds.items():
        model = MODELS[row]._replace(cost=partial(taking, learning))
        monkeypatch.setitem(MODELS, row, model)
    known = [row.name for row in rows_of(run) if row.name in tunable()]
    others = set(known) - set(seconds)
    rest = (41.0 * len(known) - sum(seconds.values())) / len(others)  # so that 20.5 s are for each
    for row in others:
        monkeypatch.setitem(MODELS, row, MODELS[row]._replace(cost=partial(taking, rest)))
    searched = {"itemknn": 15, "rp3beta": 11, "pmf": 6, "ease": 2, "ease-graded": 2}
    assert short_search(run, list(seconds)) == searched
    assert short_search(run, ["pmf"]) == {"pmf": 6}  # whatever else is asked for
    hurried = replace(run, budget=Budget.of(minutes=1.0))  # 17 s each; one takes longer than all
    assert short_search(hurried, list(seconds)) == {"itemknn": 15, "rp3beta": 8, "pmf": 4}


def test_a_row_that_has_settings_is_not_searched_again(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "MOST", 15)
    write_json(run.tuned_path("pmf"), {"settings": {"factors": 4}})
    assert set(short_search(run, ["pmf", "rp3beta"])) == {"rp3beta"}


def test_factors_that_cannot_be_read_cost_only_their_row(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "MOST", 15)
    train_pmf(run, pmf_settings_of(run)._replace(factors=4))
    run.factors_path("pmf").with_suffix(".json").write_text("{")
    assert set(short_search(run, ["pmf", "rp3beta"])) == {"rp3beta"}


def test_an_interrupted_search_begins_with_the_defaults_again(
    run: RunFolder, judged: dict[float, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried(monkeypatch, 600.0)
    figures, times = Trials.figures, iter([False, True])

    def interrupted(trials: Trials, settings: dict[str, Any], goes_on: Any) -> np.ndarray:
        if next(times, False):
            raise KeyboardInterrupt
        return figures(trials, settings, goes_on)

    judged[600.0] = judged[200.0] - 0.001
    monkeypatch.setattr(Trials, "figures", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tune(run, "ease", 3)
    card = tune(run, "ease", 2)
    assert (card["settings"]["lambda_"], card["lead"], card["trials"]) == (200.0, 0.0, 2)


def test_defaults_that_cannot_be_fitted_lose_to_what_can(
    run: RunFolder, judged: dict[float, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = Trials.figures

    def diverging(trials: Trials, settings: dict[str, Any], goes_on: Any) -> np.ndarray:
        if settings["lambda_"] == 200.0:
            raise FloatingPointError
        return figures(trials, settings, goes_on)

    tried(monkeypatch, 600.0)
    monkeypatch.setattr(Trials, "figures", diverging)
    card = tune(run, "ease", 2)
    assert (card["settings"]["lambda_"], card["lead"], card["ended_early"]) == (600.0, None, 1)


def test_settings_that_cannot_be_solved_or_do_not_fit_end_their_trial_alone(
    run: RunFolder, judged: dict[float, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = Trials.figures

    def unsolved(trials: Trials, settings: dict[str, Any], goes_on: Any) -> np.ndarray:
        if settings["lambda_"] == 60.0:
            raise InputError("EASE cannot be solved")
        return figures(trials, settings, goes_on)

    def cost(size: Size, settings: Settings) -> Cost:
        return Cost(1e15 if settings["lambda_"] == 600.0 else 0.0, 0.0, 0.0)

    judged[600.0] = judged[200.0] + 1.0 + 0.01 * judged[200.0]
    tried(monkeypatch, 60.0, 600.0)
    monkeypatch.setitem(MODELS, "ease", MODELS["ease"]._replace(cost=cost))
    monkeypatch.setattr(Trials, "figures", unsolved)
    card = tune(run, "ease", 3)
    assert (card["settings"]["lambda_"], card["ended_early"]) == (200.0, 2)


def test_a_trial_that_was_half_written_is_made_again(run: RunFolder) -> None:
    assert tune(run, "ease", 2)["trials"] == 2
    path = run.tuned_path("ease").with_suffix(".trials")
    path.write_bytes(path.read_bytes()[:-20])
    assert tune(run, "ease", 2)["trials"] == 2
    assert tune(run, "ease", 3)["trials"] == 3


@pytest.mark.parametrize("rubbish", [b"\xff\xfe\n", b"{}\n", b"[\n"])
def test_trials_that_cannot_be_read_are_set_aside(run: RunFolder, rubbish: bytes) -> None:
    said: list[str] = []
    run = replace(run, say=said.append)
    assert tune(run, "ease", 1)["trials"] == 1
    path = run.tuned_path("ease").with_suffix(".trials")
    path.write_bytes(path.read_bytes() + rubbish)
    assert tune(run, "ease", 1)["trials"] == 1
    assert any("its earlier trials cannot be read" in line for line in said)
    assert path.with_suffix(".damaged").exists()


def test_factors_that_were_asked_for_are_not_searched(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "MOST", 15)
    assert "pmf" in short_search(run, ["pmf", "rp3beta"])
    train_pmf(run, pmf_settings_of(run)._replace(factors=4))
    assert set(short_search(run, ["pmf", "rp3beta"])) == {"rp3beta"}


def test_rows_that_cannot_be_made_take_no_time(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "MOST", 15)
    assert short_search(replace(run, budget=Budget(1)), ["pmf"]) == {}


def searched(run: RunFolder, trials: dict[str, int]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """By row what was found, and what was said."""
    said: list[str] = []
    found, lost = tune_all(run, trials, Terminal(-1).sweeps, said.append)
    assert not lost
    return found, said


def test_rows_side_by_side_get_the_trials_that_they_get_one_after_the_other(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = {"rp3beta": 5, "ease": 4}
    place = cores()[:1]
    monkeypatch.setattr("jaxrec.devices.cores", lambda: place)
    one, _ = searched(run, trials)
    plan = Beside(["ease", "rp3beta"], [place, place], run.budget)
    monkeypatch.setattr(tuning, "beside", lambda run, trials: plan)
    monkeypatch.setattr(tuning, "tune", None)  # of this process
    both, said = searched(replace(run, path=run.path.with_name("other")), trials)
    assert list(both) == list(trials)
    assert {line.partition(":")[0] for line in said} == set(trials)
    for row, card in both.items():
        own = one[row]
        assert card["by_trial"] == pytest.approx(own["by_trial"], abs=1e-6, nan_ok=True)
        assert card["settings"] == pytest.approx(own["settings"])
        assert (card["trials"], card["ended_early"]) == (own["trials"], own["ended_early"])


def test_what_processes_say_is_said_and_a_row_that_is_lost_costs_no_other(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(run, "ease", 1)
    path = run.tuned_path("ease").with_suffix(".trials")
    path.write_bytes(b"[\n")
    said: list[str] = []
    run = replace(run, say=said.append)
    plan = Beside(["itemknn", "ease"], [cores()[:1]], Budget(1))  # byte
    monkeypatch.setattr(tuning, "beside", lambda run, trials: plan)
    _, lost = tune_all(run, {"ease": 1, "itemknn": 1}, Terminal(-1).sweeps, said.append)
    assert list(lost) == ["ease", "itemknn"]
    assert all("give --memory" in why for why in lost.values())
    plan = plan._replace(budget=Budget.of())
    found, lost = tune_all(run, {"ease": 1, "itemknn": 1}, Terminal(-1).sweeps, said.append)
    assert (list(found), lost) == (["ease", "itemknn"], {})
    assert any("its earlier trials cannot be read" in line for line in said)


def test_a_row_that_may_not_fit_beside_others_is_searched_by_itself(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "cores", lambda: list(range(4)))
    monkeypatch.setattr("jaxrec.side_by_side.cores", lambda: list(range(4)))
    process = tuning.PROCESS + tuning.INTERACTION * run.size.interactions
    run = replace(run, budget=Budget(4 * (process + 10**9)))

    def costs(**seconds_and_memory: tuple[float, float]) -> None:
        for row, (seconds, memory) in seconds_and_memory.items():
            cost = partial(of_size, seconds, memory)
            model = MODELS[row]._replace(cost=cost)
            monkeypatch.setitem(MODELS, row, model)
            monkeypatch.setitem(tuning.OWN, row, model)

    costs(ease=(100.0, 1e9), rp3beta=(500.0, 1e9), itemknn=(300.0, 1e9), pmf=(200.0, 1e9))
    trials = dict.fromkeys(("ease", "rp3beta", "itemknn", "pmf"), 2)
    plan = beside(run, trials)
    assert plan.rows == ["rp3beta", "itemknn", "pmf", "ease"]
    assert plan.places == [[0], [1], [2], [3]]
    assert plan.budget.memory == 10**9
    costs(pmf=(200.0, 1.1e9))
    plan = beside(run, trials)  # three at once rather than one without the others
    assert (len(plan.rows), len(plan.places)) == (4, 3)
    costs(pmf=(200.0, 1e10))
    plan = beside(run, trials)
    assert plan.rows == ["rp3beta", "itemknn", "ease"]
    monkeypatch.setitem(tuning.OWN, "rp3beta", MODELS["ease"])  # a script has put another there
    assert beside(run, trials).rows == ["itemknn", "ease"]
    monkeypatch.setattr(tuning, "LONG", 1e6)
    assert beside(run, trials).rows == []


def of_size(seconds: float, memory: float, size: Size, settings: Settings) -> Cost:
    return Cost(memory, seconds, 0.0)


def test_all_rows_of_a_search_read_the_embeddings_that_were_chosen_before(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though what they were chosen by gets other settings meanwhile."""
    for name in "ab":
        path = run.embeddings_path(name, "honest")
        write_json(path.with_suffix(".json"), {"sha256": name})
        path.write_bytes(b"")
    chosen = iter(["a", "b"])
    monkeypatch.setattr(tuning, "choose_embeddings", lambda run: next(chosen))

    def found(run: RunFolder, row: str, trials: int, on_trial: Any) -> dict[str, Any]:
        write_json(run.tuned_path(row), {"settings": {}})
        card = {"row": row, "settings": {}, "trials": 1, "validation_ndcg@25": 0.5}
        return card | {"read": chosen_embeddings(run)}

    monkeypatch.setattr(tuning, "tune", found)
    monkeypatch.setattr(tuning, "_refused", lambda run, row: None)
    cards, _ = searched(run, {"pmf+text": 1, "ease+text": 1})
    assert [card["read"] for card in cards.values()] == ["a", "a"]


def test_a_killed_search_goes_on_as_an_unbroken_one(
    run: RunFolder, judged: dict[float, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried(monkeypatch, 600.0)
    whole = tune(run, "ease", 6)
    one_more = tuning._one_more
    for trial in range(5):
        asked = iter(range(5))

        def dies(study: Any, trials: Trials, trial: int = trial, asked: Any = asked) -> None:
            if next(asked) == trial:
                study.ask(tuning._distributions(MODELS["ease"]))  # and is never told
                raise KeyboardInterrupt
            one_more(study, trials)

        monkeypatch.setattr(tuning, "_one_more", dies)
        broken = replace(run, path=run.path.with_name(f"broken-{trial}"))
        with pytest.raises(KeyboardInterrupt):
            tune(broken, "ease", 6)
        monkeypatch.setattr(tuning, "_one_more", one_more)
        assert tune(broken, "ease", 6) == whole
        drawn = [
            [each.params for each in tuning._study(of, "ease").get_trials(states=tuning.FINISHED)]
            for of in (run, broken)
        ]
        assert drawn[0] == drawn[1]


def test_a_trial_that_was_changed_is_set_aside(
    run: RunFolder, judged: dict[float, np.ndarray]
) -> None:
    tune(run, "ease", 2)
    path, said = run.tuned_path("ease").with_suffix(".trials"), list[str]()
    path.write_text(path.read_text().replace('"values":[0.', '"values":[0.9', 1))
    assert tune(replace(run, say=said.append), "ease", 2)["trials"] == 2
    assert said == [
        f"ease: its earlier trials cannot be read; they are now {path.parent}/ease.damaged"
    ]


def test_trials_that_a_clock_puts_into_the_future_count(
    run: RunFolder, judged: dict[float, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has been set back since; they last less than no time, too."""
    tried(monkeypatch, 600.0)
    whole = tune(run, "ease", 5)
    later = replace(run, path=run.path.with_name("later"))
    tune(later, "ease", 3)
    path = later.tuned_path("ease").with_suffix(".trials")
    ahead = {"datetime_start": "2199-01-01T00:00:00+00:00", "datetime_complete": "2198-01-01"}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert any("datetime_complete" in line for line in lines)
    moved = [line | {key: ahead[key] for key in ahead if key in line} for line in lines]
    path.write_text("".join(json.dumps(sealed(line)) + "\n" for line in moved))
    assert tune(later, "ease", 5) == whole


def test_no_search_makes_a_removed_run_folder_again(run: RunFolder) -> None:
    with held(of_run(run.path), run.path):
        shutil.rmtree(run.path)
        with pytest.raises(InputError, match="was removed while this command wrote into it"):
            tuning._study(run, "ease")
    assert not run.path.exists()
