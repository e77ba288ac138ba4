"""What a tracker is told."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from jaxrec import tracking
from jaxrec.tracking import TRACKERS, Record


@pytest.fixture
def record(tmp_path: Path) -> Record:
    (tmp_path / "results.json").write_text("{}")
    return Record(
        tmp_path,
        "tiny, protocol strict, seed 1",
        {"pmf+text/factors": 8},
        {"pmf+text/recall@25": 0.25},
        {"training-pmf/objective": [3.0, 2.0]},
        [tmp_path / "results.json"],
    )


@pytest.mark.filterwarnings("default")  # of MLflow's own packages
def test_mlflow_keeps_settings_figures_curves_and_files(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    store = (tmp_path / "store").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # given back after the test
    TRACKERS["mlflow"](record)
    client = mlflow.MlflowClient(store)
    experiment = client.get_experiment_by_name("jaxrec")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == record.title
    assert run.data.params == {"pmf-text/factors": "8"}
    assert run.data.metrics["pmf-text/recall_at_25"] == 0.25
    curve = client.get_metric_history(run.info.run_id, "training-pmf/objective")
    assert [(point.step, point.value) for point in curve] == [(0, 3.0), (1, 2.0)]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["results.json"]


@pytest.mark.filterwarnings("default")
def test_tensorboard_keeps_figures_and_curves(record: Record) -> None:
    pytest.importorskip("tensorboardX")
    TRACKERS["tensorboard"](record)
    found = events(record.path / "tensorboard")
    assert ("pmf-text/recall_at_25", 0, 0.25) in found
    assert ("training-pmf/objective", 1, 2.0) in found


@pytest.mark.usefixtures("small_synthetic")
def test_a_search_is_a_run_a_row_with_a_figure_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Record] = []
    monkeypatch.setitem(tracking.PACKAGES, "mlflow", sys.__name__)
    monkeypatch.setitem(TRACKERS, "mlflow", told.append)
    how = ["tune", "--data", "synthetic", "--run", str(tmp_path / "run"), "--trials", "2"]
    rows = ["--row", "ease", "--row", "itemknn"]
    result = CliRunner().invoke(cli.main, [*how, *rows, "--track", "mlflow"])
    assert result.exit_code == 0, result.output
    assert [record.title.rpartition(" ")[2] for record in told] == ["itemknn", "ease"]
    for record in told:
        (curve,) = record.curves.values()
        (best,) = (value for name, value in record.figures.items() if "ndcg" in name)
        assert len(curve) == 2
        assert best in curve
        assert [file.stem for file in record.files] == [record.title.rpartition(" ")[2]]


def test_what_has_no_figure_keeps_the_steps_of_the_others(record: Record) -> None:
    pytest.importorskip("tensorboardX")
    curve = {"pmf/ndcg": [0.5, float("nan"), 0.25]}
    TRACKERS["tensorboard"](record._replace(curves=curve, folder="search of pmf+text"))
    (folder,) = (record.path / "tensorboard").iterdir()
    assert folder.name == "search of pmf-text"
    found = {(step, value) for tag, step, value in events(folder) if tag == "pmf/ndcg"}
    assert found == {(0, 0.5), (2, 0.25)}


def events(folder: Path) -> list[tuple[str, int, float]]:
    """What TensorBoard's file in a folder holds: tag, step, value."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    (file,) = folder.iterdir()
    data, found = file.read_bytes(), []
    while data:  # length, its checksum, an event, its checksum
        length = int.from_bytes(data[:8], "little")
        assert masked_crc32c(data[:8]) == int.from_bytes(data[8:12], "little")
        event = Event.FromString(data[12 : 12 + length])
        found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
        data = data[16 + length :]
    return found


def test_a_tracker_that_is_not_installed_is_named_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tracking.PACKAGES, "wandb", "no_such_package")
    run = str(tmp_path / "run")
    for command in ("run", "eval", "tune"):
        result = CliRunner().invoke(cli.main, [command, "--run", run, "--track", "wandb"])
        assert result.exit_code == 2
        assert "pip install 'jaxrec[wandb]'" in result.output
    assert not Path(run).exists()


@pytest.mark.usefixtures("small_synthetic")
def test_a_tracker_that_fails_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Record] = []

    def fails(record: Record) -> None:
        told.append(record)
        raise ConnectionError("nobody listens\nat all")

    monkeypatch.setitem(tracking.PACKAGES, "mlflow", sys.__name__)
    monkeypatch.setitem(TRACKERS, "mlflow", fails)
    run = tmp_path / "run"
    how = ["eval", "--data", "synthetic", "--run", str(run), "--row", "popularity"]
    result = CliRunner().invoke(cli.main, [*how, "--track", "mlflow"])
    assert result.exit_code == 0, result.output
    assert "mlflow was not told (nobody listens); what was found is kept" in result.output
    assert (run / "results.json") in told[0].files
    assert told[0].figures["popularity/precision@25"] > 0
    assert told[0].settings["protocol/seed"] == 42
