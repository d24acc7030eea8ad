"""Mutation run: every small wrong version of the formulas must make a formula test fail.

    python tests/mutation/run.py [part of a file name ...] [--jobs N]

For each mutant of tensors.py and methods/**.py a forked child imports the mutated module and runs tests/formulas until
the first failure. A mutant that no test notices is a survivor; the run fails on each one that equivalents.toml does not
list with a reason, and on each listed one that no longer survives or exists. Needs fork (Linux, macOS).
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import os
import signal
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

import numpy  # noqa: F401  imported before the forks, as are torch, pydantic and pytest, so that no child pays for it
import pydantic  # noqa: F401
import pytest
import torch
from mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "tuningfork"
FORMULAS = ROOT / "tests" / "formulas"
EQUIVALENTS = Path(__file__).with_name("equivalents.toml")
TIMEOUT_SECONDS = 120
OPTIONS = ["-x", "-q", "-p", "no:cacheprovider", "--tb=no", "--rootdir", str(ROOT)]


@dataclass(frozen=True)
class Target:
    """One source file and the tests that look at it, its own first."""

    path: Path

    @property
    def label(self) -> str:
        return self.path.relative_to(PACKAGE).as_posix()

    @property
    def module(self) -> str:
        parts = self.path.relative_to(PACKAGE.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def tests(self, *, only_own: bool = False) -> list[list[str]]:
        """Its own test file, which notices nearly everything, then all the others."""
        own = FORMULAS / f"test_{self.module.rsplit('.', 1)[-1]}.py"
        others = sorted(path for path in FORMULAS.glob("test_*.py") if path not in (own, FORMULAS / "test_checks.py"))
        if only_own and own.exists():
            return [[str(own)]]
        return [[str(path) for path in paths] for paths in ([own] if own.exists() else [], others) if paths]


class MutantFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from the code given instead of from its file."""

    def __init__(self, module: str, code: CodeType, path: Path) -> None:
        self.module, self.code, self.path = module, code, path

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name != self.module:
            return None
        folder = [str(self.path.parent)] if self.path.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(name, self.path, loader=self, submodule_search_locations=folder)

    def exec_module(self, module: ModuleType) -> None:
        exec(self.code, module.__dict__)


def targets(parts: list[str]) -> list[Target]:
    """The files to mutate: all, or those whose name contains one of the parts."""
    found = [Target(PACKAGE / "tensors.py"), *map(Target, sorted((PACKAGE / "methods").rglob("*.py")))]
    return [target for target in found if not parts or any(part in target.label for part in parts)]


def survives(target: Target, mutant: Mutant, *, only_own: bool = False, seconds: float = TIMEOUT_SECONDS) -> bool:
    """Whether the formula tests pass with this mutant in place of the module. A mutant that hangs is noticed."""
    child = os.fork()
    if child == 0:
        _test_and_exit(target, mutant, only_own)
    deadline = time.monotonic() + seconds
    while True:
        finished, status = os.waitpid(child, os.WNOHANG)
        if finished:
            return os.waitstatus_to_exitcode(status) == 0
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        time.sleep(0.01)


def _test_and_exit(target: Target, mutant: Mutant, only_own: bool) -> None:
    """In the child: run the tests in silence and leave with their exit code."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    code = 1
    try:
        compiled = compile(mutant.tree, str(target.path), "exec")
        sys.meta_path.insert(0, MutantFinder(target.module, compiled, target.path))
        code = next(
            (code for paths in target.tests(only_own=only_own) if (code := int(pytest.main([*OPTIONS, *paths])))), 0
        )
    finally:
        os._exit(code)


def _warm_up() -> None:
    """Has pytest import itself before the forks, without its plugins: both cost more than most tests."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main([*OPTIONS, str(FORMULAS / "test_checks.py")])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", help="only files whose name contains one of these")
    parser.add_argument("--jobs", type=int, default=1, help="children at a time")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    _warm_up()
    sys.path.insert(0, str(PACKAGE.parent))
    listed: dict[str, dict[str, str]] = tomllib.loads(EQUIVALENTS.read_text())
    start, count, wrong = time.monotonic(), 0, 0
    chosen = targets(arguments.parts)
    unchanged = Mutant("the source itself", 1, ast.parse(chosen[0].path.read_text()))
    if not survives(chosen[0], unchanged, seconds=600):
        print("the formula tests fail on the source as it is: nothing can be said of its mutants")
        return 1
    print(f"{time.monotonic() - start:6.1f}s for all formula tests")
    for target in chosen:
        source = target.path.read_text()
        everything, known = list(mutants(source)), listed.get(target.label, {})
        with ThreadPoolExecutor(
            arguments.jobs
        ) as pool:  # the others' tests cost most, and say no more of what is listed
            alive = list(
                pool.map(lambda m, of=target, known=known: survives(of, m, only_own=m.name in known), everything)
            )
        survivors = [mutant for mutant, is_alive in zip(everything, alive, strict=True) if is_alive]
        new = [mutant for mutant in survivors if mutant.name not in known]
        stale = known.keys() - {mutant.name for mutant in survivors}
        count, wrong = count + len(everything), wrong + len(new) + len(stale)
        seconds = time.monotonic() - start
        counts = f"{len(everything)} mutants, {len(survivors)} survive, {len(new)} unexplained"
        print(f"{seconds:6.1f}s {target.label}: {counts}")
        for mutant in new:
            print(f"    survivor  {target.label}:{mutant.line}  {mutant.name}")
        for name in sorted(stale):
            print(f"    listed as equivalent, but it is caught or gone: {name}")
        sys.stdout.flush()
    print(f"{count} mutants in {time.monotonic() - start:.0f} s: {wrong} to explain")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
