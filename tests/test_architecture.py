"""The direction of imports, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GROUND = {"errors", "interruption", "files", "budget", "caches", "side_by_side", "titles"}
# and `tracking` and `locks`, for commands alone
DATA = GROUND | {"data", "devices"}
LISTS = DATA | {"topk", "evaluation"}
MAY_IMPORT = {
    "data": GROUND,
    "sources": GROUND | {"data"},
    "topk": DATA,
    "pmf": DATA,
    "evaluation": DATA | {"topk"},
    "sets": LISTS,
    "models": LISTS | {"pmf", "sets"},
    "fusion": LISTS,
    "explanation": LISTS | {"models", "fusion"},
    "border": DATA | {"pmf", "evaluation"},
    "experiment": LISTS | {"sources", "pmf", "models", "fusion", "border"},
    "serving": LISTS
    | {"sources", "pmf", "models", "fusion", "explanation", "border", "experiment"},
    "web": LISTS | {"models", "explanation", "serving"},
    "report": GROUND | {"evaluation"},
    "console": GROUND,
    "hosts": LISTS
    | {"sources", "pmf", "models", "fusion", "experiment", "serving", "report", "console", "locks"},
    "health": GROUND,
    "commands": LISTS
    | {
        "sources",
        "pmf",
        "models",
        "fusion",
        "explanation",
        "border",
        "experiment",
        "serving",
        "web",
        "report",
        "console",
        "health",
        "tracking",
        "hosts",
        "locks",
    },
}
OF_TORCH = {
    "encoding": GROUND | {"processes", "names", "hub", "bert"},
    "training": GROUND | {"processes", "names", "hub", "encoding"},
    "hub.py": GROUND | {"names"},
    "learn.py": GROUND | {"processes", "encoding", "training"},
}
PEERS = {"cornac", "implicit", "irspack", "lenskit", "libmf", "ranx", "sentence_transformers"}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def modules(package: str) -> list[Path]:
    return [path for path in sorted((ROOT / package).rglob("*.py")) if path.stem != "cli"]


def test_every_package_has_its_place_and_says_so() -> None:
    for package, allowed in (("jaxrec", MAY_IMPORT), ("torch_embed", OF_TORCH)):
        folders = {path.parent for path in (ROOT / package).glob("*/__init__.py")}
        assert {folder.name for folder in folders} == {name for name in allowed if "." not in name}
        for folder in folders:
            (docstring,) = ast.parse((folder / "__init__.py").read_text()).body
            assert isinstance(docstring, ast.Expr)  # so that a folder opens without JAX
            assert 3 <= len(list(folder.glob("*.py"))) - 1 <= 8, folder.name


@pytest.mark.parametrize(
    ("package", "allowed"), [("jaxrec", MAY_IMPORT), ("torch_embed", OF_TORCH)]
)
def test_packages_import_only_what_is_below_them(
    package: str, allowed: dict[str, set[str]]
) -> None:
    beside = {path.stem for path in (ROOT / package).iterdir()} - {"__init__", "cli"}
    for path in modules(package):
        own = path.relative_to(ROOT / package).parts[0]
        for name in imported(path):
            first, _, rest = name.partition(".")
            other = rest.partition(".")[0]
            if first == package and other in beside and own != other:
                assert other in allowed.get(own, GROUND), f"{path} imports {name}"


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("jaxrec", {"torch", "torch_embed", "transformers"} | PEERS),
        ("torch_embed", {"jax", "jaxrec"} | PEERS),
    ],
)
def test_the_packages_do_not_know_each_other(package: str, forbidden: set[str]) -> None:
    for path in modules(package):
        # a baseline, imported if it is asked for
        here = forbidden - {"irspack"} if path.parent.name == "models" else forbidden
        assert not {name.partition(".")[0] for name in imported(path)} & here


@pytest.mark.parametrize("code", ["import cli", "import jaxrec"])
def test_nothing_heavy_is_imported_for_help(code: str) -> None:
    heavy = ("jax", "torch", "polars", "numpy", "rich.progress", "transformers")
    code = f"{code}, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_a_fit_waits_for_nothing_it_does_not_use() -> None:
    heavy = ("flax", "optax", "optuna", "matplotlib", "orbax.checkpoint", "torch")
    code = f"import sys, jaxrec.serving.evaluated; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_model_serves_without_what_makes_one() -> None:
    lean = ("lists", "folder", "additions", "strangers", "model")
    for path in (ROOT / f"jaxrec/serving/{name}.py" for name in lean):
        assert not [name for name in imported(path) if name.startswith("jaxrec.experiment")], path


def test_the_run_folder_can_be_opened_without_jax() -> None:
    """While torch encodes on a GPU, JAX must not hold its memory."""
    code = "import sys, jaxrec.experiment.folder; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_report_reads_the_card_and_nothing_that_makes_one() -> None:
    ground = {
        "jaxrec.errors",
        "jaxrec.interruption",
        "jaxrec.files",
        "jaxrec.report",
        "jaxrec.evaluation.card",
    }
    for path in [*(ROOT / "jaxrec/report").glob("*.py"), ROOT / "jaxrec/evaluation/card.py"]:
        own = {name for name in imported(path) if name.startswith("jaxrec")}
        assert all(any(name.startswith(of) for of in ground) for name in own), path
    code = "import sys, jaxrec.report.tables; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
