"""The direction of imports, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = [
    ["errors", "terminal", "options"],
    ["files", "dataset", "processors"],
    ["movielens", "synthetic", "split", "sparse_rows", "texts", "tiles", "text_prior"],
    ["sources", "protocol", "factors", "sweeps", "embeddings", "rows", "gradient", "features"],
    ["sequential", "pmf", "content", "fusion", "metrics", "topk", "run_folder", "significance"],
    ["pairs", "alignment"],
    ["scorers", "evaluation", "baselines"],
    ["hybrid", "models"],
    ["scorecard", "fitting", "foreign_metrics", "plot"],
    ["pmf_rows", "study", "tuning", "training_data"],
    ["measuring"],
    ["serving"],
]
LEVEL = {module: level for level, modules in enumerate(ORDER) for module in modules}
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
    return [
        path
        for path in sorted((ROOT / package).glob("*.py"))
        if path.stem not in ("__init__", "cli")
    ]


def test_every_module_has_its_place() -> None:
    assert {path.stem for path in modules("jaxrec")} == set(LEVEL)


@pytest.mark.parametrize("path", modules("jaxrec"), ids=lambda path: path.stem)
def test_a_module_imports_only_what_stands_to_its_left(path: Path) -> None:
    for name in imported(path):
        first, _, rest = name.partition(".")
        module = rest.partition(".")[0]
        if first == "jaxrec" and module in LEVEL:
            assert LEVEL[module] < LEVEL[path.stem], f"{path.stem} imports {module}"


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("jaxrec", {"torch", "torch_embed", "transformers"} | PEERS),
        ("torch_embed", {"jax", "jaxrec"} | PEERS),
    ],
)
def test_the_packages_do_not_know_each_other(package: str, forbidden: set[str]) -> None:
    for path in modules(package):
        if path.stem == "models":
            forbidden = forbidden - {"irspack"}  # a baseline, imported if it is asked for
        assert not {name.partition(".")[0] for name in imported(path)} & forbidden


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
    code = f"import sys, jaxrec.serving; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_run_folder_can_be_opened_without_jax() -> None:
    """While torch encodes on a GPU, JAX must not hold its memory."""
    code = "import sys, jaxrec.run_folder; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
