"""What an experiment was and found, told to a tracker: MLflow, TensorBoard or Weights & Biases.

A tracker is told when all is measured or searched, from what the run folder holds: it can cost no
figure, and what it missed it can be told again. Where it keeps things is for its own settings to
say (`MLFLOW_TRACKING_URI`, `WANDB_MODE`, ...); TensorBoard's files lie in the run folder.
"""

import os
import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from jaxrec.errors import InputError


class Record(NamedTuple):
    """Of one run folder, or of one row's search in it."""

    path: Path
    title: str
    """Data, protocol and seed; and the row that was searched."""
    settings: dict[str, Any]
    figures: dict[str, float]
    """By `ROW/METRIC@K`; none that is not a number."""
    curves: dict[str, list[float]]
    """By what was trained or searched: a value a sweep, epoch or trial; NaN where there is none."""
    files: list[Path]
    """What is kept along."""
    folder: str = ""
    """Of TensorBoard's files, within that of the run folder's."""


def plain(name: str) -> str:
    """A name that every tracker takes: `pmf+text/recall@25` is `pmf-text/recall_at_25`."""
    return re.sub(r"[^\w\-. /]", "-", name.replace("@", "_at_"), flags=re.ASCII)


def _points(curve: list[float]) -> Iterator[tuple[int, float]]:
    """Of a curve: step and value, where there is one."""
    return ((step, value) for step, value in enumerate(curve) if isfinite(value))


def _mlflow(record: Record) -> None:
    import mlflow

    # who names a folder has chosen it, though MLflow would rather have a database
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith("file:") or (uri and "://" not in uri):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    if "MLFLOW_EXPERIMENT_NAME" not in os.environ and "MLFLOW_EXPERIMENT_ID" not in os.environ:
        mlflow.set_experiment("jaxrec")
    with mlflow.start_run(run_name=record.title):
        mlflow.log_params({plain(name): value for name, value in record.settings.items()})
        mlflow.log_metrics({plain(name): value for name, value in record.figures.items()})
        for name, values in record.curves.items():
            for step, value in _points(values):
                mlflow.log_metric(plain(name), value, step)
        for file in record.files:
            mlflow.log_artifact(str(file))


def _tensorboard(record: Record) -> None:
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(record.path / "tensorboard" / plain(record.folder))) as writer:
        settings = "\n".join(f"    {name} = {value}" for name, value in record.settings.items())
        writer.add_text("settings", settings)
        writer.add_text("files", "\n".join(f"    {file}" for file in record.files))
        for name, value in record.figures.items():
            writer.add_scalar(plain(name), value)
        for name, values in record.curves.items():
            for step, value in _points(values):
                writer.add_scalar(plain(name), value, step)


def _wandb(record: Record) -> None:
    import wandb

    with wandb.init(
        project=os.environ.get("WANDB_PROJECT", "jaxrec"),
        name=record.title,
        config=record.settings,
        dir=str(record.path),
    ) as run:
        run.summary.update(record.figures)
        for name, values in record.curves.items():
            run.define_metric(plain(name), step_metric="step")
            for step, value in _points(values):
                run.log({plain(name): value, "step": step})
        for file in record.files:
            run.save(str(file), base_path=str(record.path), policy="now")


TRACKERS: dict[str, Callable[[Record], None]] = {
    "mlflow": _mlflow,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}
PACKAGES = {"mlflow": "mlflow", "tensorboard": "tensorboardX", "wandb": "wandb"}


def check_tracker(name: str | None) -> None:
    """Raise InputError for a tracker whose package is not installed; before the work."""
    if name is not None and find_spec(PACKAGES[name]) is None:
        raise InputError(
            f"--track {name} needs {PACKAGES[name]}; pip install 'jaxrec[{name}]', or leave it out"
        )


def tell(name: str, record: Record, again: str) -> str:
    """Tell a tracker; returns a line that says so, or why it failed and which command tries again.

    Whatever fails, all else is kept.
    """
    try:
        TRACKERS[name](record)
    except Exception as error:  # of a package of others, a server, a network
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return f"{name} was not told ({reason}); what was found is kept: `{again}`"
    return f"{name} was told: {record.title}"
