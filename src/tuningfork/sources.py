"""A hash of the code a stage runs, so that a change of code runs the stage again and a change of a comment does not.

In a development install it covers what the stage imports of this package, directly or not, with data files beside it;
elsewhere the package version stands for all of it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

import tuningfork
from tuningfork.artifacts.files import hash_file, hash_json
from tuningfork.kinds import stage_module

_PACKAGE = "tuningfork"
_ROOT = Path(str(tuningfork.__file__)).parent


def code_version(kind: str) -> str:
    """What stands for the code of a stage kind in its key."""
    path = Path(str(stage_module(kind).__file__))
    if not is_development_install() and path.is_relative_to(_ROOT):
        return tuningfork.__version__
    return source_hash(path)


def is_development_install() -> bool:
    """Whether the package is imported from a source tree."""
    return (_ROOT.parent.parent / "pyproject.toml").is_file()


def source_hash(path: Path) -> str:
    """Hash of a Python file and of everything of this package it imports, directly or not."""
    pending, seen = [path.resolve()], dict[str, str]()
    while pending:
        file = pending.pop()
        name = str(file.relative_to(_ROOT)) if file.is_relative_to(_ROOT) else file.name
        if name not in seen:
            seen[name] = _hash_of(file)
            pending.extend(_imports(file))
    for folder in {(_ROOT / name).parent for name in seen} - {_ROOT}:
        seen |= {str(data.relative_to(_ROOT)): hash_file(data) for data in _data_files(folder)}
    return hash_json(seen)


@functools.cache
def _tree(file: Path) -> ast.Module:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [each for each in body if not _is_text(each)]  # type: ignore[attr-defined]
    return tree


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@functools.cache
def _hash_of(file: Path) -> str:
    return hashlib.sha256(ast.dump(_tree(file)).encode()).hexdigest()


@functools.cache
def _imports(file: Path) -> tuple[Path, ...]:
    """Files of this package that a file imports anywhere, inside functions too.

    A package that looks into its own `__path__` finds modules by name, and so does a text `tuningfork.worlds...`: all
    modules below count.
    """
    found: set[Path] = set()
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.update(_files_of(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                found.update(_files_of(f"{node.module}.{alias.name}") or _files_of(node.module))
                found.update(_files_of(node.module))
        elif isinstance(node, ast.Name) and node.id == "__path__":
            found.update(file.parent.rglob("*.py"))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(f"{_PACKAGE}."):
            folder = _ROOT.joinpath(*node.value.rstrip(".").split(".")[1:])
            found.update(folder.rglob("*.py") if folder.is_dir() else ())
    return tuple(sorted(found - {_ROOT / "__init__.py"}))  # which only names what users call


def _files_of(module: str) -> list[Path]:
    """The file of a module of this package and the `__init__` files on the way; nothing where it is none."""
    first, *rest = module.split(".")
    path = _ROOT.joinpath(*rest)
    if first != _PACKAGE or not (path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()):
        return []
    own = path.with_suffix(".py") if rest and path.with_suffix(".py").is_file() else path / "__init__.py"
    inits = [_ROOT.joinpath(*rest[:depth], "__init__.py") for depth in range(1, len(rest))]
    return [file for file in (*inits, own) if file.is_file()]


def _data_files(folder: Path) -> Iterator[Path]:
    """Files beside modules that are not Python; folders that are packages speak for themselves."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name != "__pycache__" and not (path / "__init__.py").is_file():
            yield from (file for file in sorted(path.rglob("*")) if file.is_file())
        elif path.is_file() and path.suffix not in (".py", ".pyc"):
            yield path
