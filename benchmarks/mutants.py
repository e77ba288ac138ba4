"""Would the tests notice? Run: python benchmarks/mutants.py GROUP [--sample 40] [--seed 0]

A mutant is a module with one small fault: another comparison, operator or constant, a condition
turned round, an argument, a raise or a statement left out. It is killed if a test of its group
fails or does not end. Docstrings, annotations, decorators, and what is said to people (errors, and
strings with a blank) are left as they are.

Why not mutmut or cosmic-ray: mutmut leaves decorated functions alone, which are all that is jitted,
and cosmic-ray starts Python anew for every mutant, which is most of its time with JAX. Here the
libraries are imported once and each mutant is a fork; what XLA has compiled is kept for the next;
tests that have killed most come first. Programs that tests start have the fault too.

The last line is JSON: by module how many were made, killed and survived.
"""

import ast
import json
import os
import random
import resource
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_loader
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import click
import pytest

ROOT = Path(__file__).parent.parent
GROUPS = {
    "kernel": (
        "jaxrec/pmf/half_sweep.py jaxrec/pmf/objective.py jaxrec/pmf/sweeps.py"
        " jaxrec/pmf/text_prior.py jaxrec/pmf/tiles.py",
        "tests/pmf/test_tiles.py tests/pmf/test_text_prior.py tests/pmf/test_half_sweep.py"
        " tests/pmf/test_objective.py tests/pmf/test_sweeps.py tests/pmf/test_fit.py",
    ),
    "splits": (
        "jaxrec/evaluation/split.py jaxrec/evaluation/protocol.py",
        "tests/evaluation/test_split.py tests/evaluation/test_protocol.py",
    ),
    "metrics": (
        "jaxrec/evaluation/metrics.py jaxrec/evaluation/measure.py"
        " jaxrec/evaluation/significance.py",
        "tests/evaluation/test_metrics.py tests/evaluation/test_measure.py"
        " tests/evaluation/test_significance.py tests/evaluation/test_foreign_metrics.py",
    ),
    "fusion": (
        "jaxrec/fusion/calibration.py jaxrec/fusion/gate.py jaxrec/fusion/learning.py"
        " jaxrec/fusion/profiles.py jaxrec/fusion/published.py",
        "tests/fusion",
    ),
    "topk": (
        "jaxrec/topk/blocks.py jaxrec/topk/item_sets.py jaxrec/topk/nearest.py"
        " jaxrec/topk/ranking.py jaxrec/topk/scorer.py",
        "tests/topk tests/serving/test_export.py",
    ),
    "mesh": (
        "jaxrec/devices.py jaxrec/pmf/mesh/checkpoints.py jaxrec/pmf/mesh/fit.py"
        " jaxrec/pmf/mesh/halves.py jaxrec/pmf/mesh/layout.py jaxrec/pmf/mesh/passes.py"
        " jaxrec/pmf/mesh/traffic.py",
        "tests/test_devices.py tests/pmf/mesh tests/topk/test_blocks.py",
    ),
    "readers": (
        "jaxrec/sources/tables.py jaxrec/sources/encodings.py jaxrec/sources/reading.py"
        " jaxrec/data/frames.py",
        "tests/data/test_frames.py tests/sources",
    ),
}
"""Modules, and the tests that are to notice."""
MOST_BYTES = 8 * 2**30
"""What a mutant may allocate."""

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
REPLACED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}


class Mutant(NamedTuple):
    """One fault; `put` writes it into the tree that it was found in."""

    line: int
    what: str
    put: Callable[[], None]


def mutants(tree: ast.Module) -> list[Mutant]:
    """All of a module, in the order of its text."""
    found = [mutant for node in _code(tree) for mutant in _of(node)]
    return sorted(found, key=lambda mutant: mutant.line)


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """What does something, from the top down."""
    yield node
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns", "decorator_list", "exc", "format_spec"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            said = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            left = ast.Import, ast.ImportFrom, ast.JoinedStr, ast.expr_context
            if isinstance(child, ast.AST) and not said and not isinstance(child, left):
                yield from _code(child)


def _of(node: ast.AST) -> Iterator[Mutant]:
    def changed(what: str, field: str, value: object) -> Mutant:
        return Mutant(node.lineno, what, lambda: setattr(node, field, value))  # type: ignore[attr-defined]

    match node:
        case ast.Compare(ops=[op]):
            other = COMPARED[type(op)]
            yield changed(f"{_name(op)} -> {other.__name__}", "ops", [other()])
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in REPLACED:
            other_op = REPLACED[type(op)]
            yield changed(f"{_name(op)} -> {other_op.__name__}", "op", other_op())
        case ast.BoolOp(op=op):
            turned = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield changed(f"{_name(op)} -> {_name(turned)}", "op", turned)
        case ast.UnaryOp(op=ast.Not() | ast.USub() as op):
            yield changed(f"{_name(op)} left out", "op", None)
        case ast.Constant(value=bool() as value):
            yield changed(f"{value} -> {not value}", "value", not value)
        case ast.Constant(value=int() | float() as value):
            yield changed(f"{value} -> {value + 1}", "value", value + 1)
        case ast.Constant(value=str() as value) if " " not in value:
            yield changed(f"{value!r} -> {value + '?'!r}", "value", value + "?")
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            yield changed("condition turned round", "test", _not(test))
        case ast.Call(keywords=keywords):
            for keyword in keywords:
                rest = [other for other in keywords if other is not keyword]
                if keyword.arg is not None:
                    yield changed(f"{keyword.arg}= left out", "keywords", rest)
        case ast.Return(value=ast.expr()):
            yield changed("None returned", "value", None)
    for field in ("body", "orelse", "finalbody"):
        block = getattr(node, field, None)
        for place, statement in enumerate(block if isinstance(block, list) else []):
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue
            if isinstance(
                statement, ast.Raise | ast.Expr | ast.AugAssign | ast.Continue | ast.Break
            ):
                yield Mutant(
                    statement.lineno,
                    f"{_name(statement)} left out",
                    lambda block=block, place=place: block.__setitem__(
                        place, ast.Pass(lineno=1, col_offset=0)
                    ),  # type: ignore[misc]
                )


def _name(node: ast.AST) -> str:
    return type(node).__name__


def _not(test: ast.expr) -> ast.expr:
    return ast.copy_location(ast.UnaryOp(ast.Not(), test), test)


class _Drop(ast.NodeTransformer):
    """Takes away the unary operators that a mutant has emptied."""

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return node.operand if node.op is None else node


def mutated(path: Path, number: int) -> ast.Module:
    """The module with its fault of that number."""
    tree = ast.parse(path.read_text())
    mutants(tree)[number].put()
    return ast.fix_missing_locations(_Drop().visit(tree))


class Fault:
    """Finds one module, and gives it its fault of that number."""

    def __init__(self, path: str, number: int):
        self.name = ".".join(Path(path).with_suffix("").parts)
        self.path, self.number = ROOT / path, number

    def find_spec(self, name: str, _path: object, _target: object = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        loader = SourceFileLoader(name, str(self.path))
        code = compile(mutated(self.path, self.number), str(self.path), "exec")
        loader.get_code = lambda fullname: code  # type: ignore[method-assign]
        return spec_from_loader(name, loader)


STARTED = """\
import os, runpy, sys
os.environ["JAX_COMPILATION_CACHE_DIR"] = {compiled!r}
if {fault}:
    sys.meta_path.insert(0, runpy.run_path({here!r})["Fault"](*{fault}))
"""
"""What every Python that a test starts does first, as its `sitecustomize`."""


class First:
    """A plugin of pytest: what has killed most comes first, then what takes least; a file's tests
    stay together, as they share what they set up.
    """

    def __init__(self, kills: Counter[str], seconds: dict[str, float], told: Path):
        self.kills, self.seconds, self.told = kills, seconds, told

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        def rank(test: str) -> tuple[int, float]:
            return -self.kills[test], self.seconds.get(test, 0)

        files: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for item in items:
            files[item.location[0]].append(rank(item.nodeid))
        of = {
            file: (min(kills for kills, _ in own), sum(seconds for _, seconds in own), file)
            for file, own in files.items()
        }
        items.sort(key=lambda item: (of[item.location[0]], rank(item.nodeid)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        with self.told.open("a") as told:
            print(report.nodeid, report.duration, report.outcome, sep="\t", file=told)


class Bench:
    """Where mutants of a group are run, one after the other."""

    def __init__(self, tests: str, scratch: Path):
        self.tests, self.scratch = tests, scratch
        self.said, self.told = scratch / "said", scratch / "told"
        self.kills = Counter[str]()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.limit = 1800.0

    def unhurt(self) -> None:
        """The tests without a fault: how long they take.

        Raises:
            ClickException: they fail.
        """
        began = time.monotonic()
        if (test := self.killer(None)) is not None:
            raise click.ClickException(f"{test} without a fault\n{self.said.read_text()[-3000:]}")
        self.limit = 1.5 * (time.monotonic() - began) + 60  # which compiled everything
        for line in self.told.read_text().splitlines():
            test, seconds, _ = line.split("\t")
            self.seconds[test] += float(seconds)

    def killer(self, fault: Fault | None) -> str | None:
        """Which test fails; None if the fault survives them all."""
        self.told.write_text("")
        child = os.fork()
        if child == 0:
            try:
                self._test(fault)
            finally:
                os._exit(pytest.ExitCode.INTERNAL_ERROR)
        ended, status = 0, 0
        until = time.monotonic() + self.limit
        while not ended and time.monotonic() < until:
            time.sleep(0.05)
            ended, status = os.waitpid(child, os.WNOHANG)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # and what tests have started
        if not ended:
            os.waitpid(child, 0)
            return "no end"
        code = os.waitstatus_to_exitcode(status)
        if code in {pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED}:
            raise click.ClickException(f"pytest could not run {self.tests}")
        if code == 0:
            return None
        failed = [line for line in self.told.read_text().splitlines() if line.endswith("failed")]
        test = failed[0].split("\t")[0] if failed else f"status {code}"
        self.kills[test] += 1
        return test

    def _test(self, fault: Fault | None) -> None:
        """In a process of its own; does not return."""
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        words = os.open(self.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(words, 1)
        os.dup2(words, 2)
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
        if fault is not None:
            sys.meta_path.insert(0, fault)
        of = () if fault is None else (str(fault.path.relative_to(ROOT)), fault.number)
        started = STARTED.format(compiled=str(self.scratch), here=__file__, fault=of)
        (self.scratch / "sitecustomize.py").write_text(started)
        os.environ["PYTHONPATH"] = os.pathsep.join([str(self.scratch), str(ROOT)])
        first = First(self.kills, self.seconds, self.told)
        options = ["-x", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
        os._exit(pytest.main([*options, *self.tests.split()], [first]))


def begin(compiled: str) -> None:
    """What all mutants share: libraries, but nothing of jaxrec, and a place for programs."""
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    for name in ("jax.numpy", "optax", "polars", "scipy.sparse", "sklearn", "torch"):
        try:
            __import__(name)
        except ImportError:
            print(f"{name} is not there")


@click.command()
@click.argument("groups", nargs=-1, type=click.Choice(list(GROUPS)))
@click.option("--sample", default=40, help="Mutants of a group.")
@click.option("--seed", default=0, help="Which.")
@click.option("--at", "places", multiple=True, help="FILE:LINE, all mutants of a line instead.")
def main(groups: tuple[str, ...], sample: int, seed: int, places: tuple[str, ...]) -> None:
    made: dict[str, Counter[str]] = defaultdict(Counter)
    with TemporaryDirectory() as scratch:
        begin(scratch)
        for group in groups or GROUPS:
            modules, tests = GROUPS[group]
            drawn = [
                (path, number, mutant)
                for path in map(Path, modules.split())
                for number, mutant in enumerate(mutants(ast.parse(path.read_text())))
                if not places or f"{path}:{mutant.line}" in places
            ]
            print(f"{group}: {len(drawn)} mutants")
            if not places:
                drawn = random.Random(seed).sample(drawn, min(sample, len(drawn)))
            if not drawn:
                continue
            bench = Bench(tests, Path(scratch))
            bench.unhurt()
            for path, number, mutant in drawn:
                killer = bench.killer(Fault(str(path), number))
                made[str(path)]["survived" if killer is None else "killed"] += 1
                print(f"{path}:{mutant.line}: {mutant.what}: {killer or 'SURVIVES'}", flush=True)
    for module, counts in made.items():
        print(f"{module}: {counts.total()} made, {counts['killed']} killed")
    print(json.dumps({module: dict(counts) for module, counts in made.items()}))


if __name__ == "__main__":
    main()
