"""Methods are pure: what they import, that settings need no torch, that each has a formula test and cites a source."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "tuningfork"
METHODS = sorted(path for path in (PACKAGE / "methods").rglob("*.py") if path.name != "__init__.py")
MATHEMATICS = [PACKAGE / "tensors.py", PACKAGE / "batch.py", *sorted((PACKAGE / "methods").rglob("*.py"))]
ALLOWED = ("tuningfork.batch", "tuningfork.tensors", "tuningfork.errors", "tuningfork.settings", "tuningfork.methods")


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(path: Path, *, types: bool = True) -> set[str]:
    """Modules a file imports; without `types`, only those it imports when it runs."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        if types or not is_type_checking(node):
            waiting += ast.iter_child_nodes(node)
    return found


@pytest.mark.parametrize("path", MATHEMATICS, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_mathematics_imports_only_mathematics(path: Path) -> None:
    for module in imports(path):
        top = module.partition(".")[0]
        if top == "tuningfork":
            assert module.startswith(ALLOWED), f"{path.name} imports {module}"
        else:
            assert top in sys.stdlib_module_names or top in ("torch", "pydantic"), f"{path.name} imports {module}"


@pytest.mark.parametrize("path", MATHEMATICS, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_mathematics_reads_no_clock_file_or_random_number(path: Path) -> None:
    assert not imports(path) & {"os", "io", "time", "datetime", "random", "pathlib", "numpy", "torch.distributed"}


def test_every_method_imports_without_torch() -> None:
    modules = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in (*MATHEMATICS[:2], *METHODS)
    ]
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("path", METHODS, ids=lambda path: path.stem)
def test_every_method_has_a_formula_test(path: Path) -> None:
    test = ROOT / "tests" / "formulas" / f"test_{path.stem}.py"
    assert test.exists(), f"write {test.relative_to(ROOT)}"
    module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    imported = imports(test) | {parent for parent in imports(test) if module.startswith(f"{parent}.")}
    assert module in imported or module.rpartition(".")[0] in imported


NAMED = sorted(path for family in ("policy", "preference") for path in (PACKAGE / "methods" / family).glob("[!_]*.py"))


@pytest.mark.parametrize("path", NAMED, ids=lambda path: path.stem)
def test_every_named_method_cites_its_paper_and_fits_a_short_file(path: Path) -> None:
    source = path.read_text()
    assert re.search(r"\d{4}\.\d{4,5}", ast.get_docstring(ast.parse(source)) or ""), (
        "the docstring names an arXiv number"
    )
    assert len(source.splitlines()) <= 150


KINDS = {
    "a worked example": r"worked_example",
    "an independent scalar version": r"match_loops",
    "invariances": r"invariances|micro_batches",
    "direction": r"direction|step_down_the_gradient",
}
BOOKKEEPING = re.compile(
    r"metrics|missing_parts|needs|defaults|refuse|asked_for|no_reference|accuracy|extreme_settings"
)


@pytest.mark.parametrize("path", NAMED, ids=lambda path: path.stem)
def test_every_named_method_has_the_five_kinds_of_check(path: Path) -> None:
    source = (ROOT / "tests" / "formulas" / f"test_{path.stem}.py").read_text(encoding="utf-8")
    tests = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    tests = {name for name in tests if name.startswith("test_")}
    for kind, pattern in KINDS.items():
        found = {name for name in tests if re.search(pattern, name)}
        assert found, f"test_{path.stem}.py lacks {kind}"
        tests -= found
    assert {name for name in tests if not BOOKKEEPING.search(name)}, f"test_{path.stem}.py lacks identities"


@pytest.mark.parametrize("path", NAMED, ids=lambda path: path.stem)
def test_every_named_method_has_a_row_in_the_docs(path: Path) -> None:
    link = f"](../{path.relative_to(ROOT).as_posix()})"
    rows = [row for row in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8").splitlines() if link in row]
    assert len(rows) == 1 and rows[0].startswith("| "), f"docs/methods.md needs one row that links {path.name}"
