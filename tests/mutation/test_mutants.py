"""The mutation run itself: what it changes, and that the formulas leave no unexplained survivor."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from mutants import mutants


def names(source: str) -> list[str]:
    return [mutant.name for mutant in mutants(source)]


def test_signs_masks_and_bounds_are_mutated() -> None:
    source = "def f(x, mask):\n    return -(x * mask).minimum(x - 2)"
    assert names(source) == [
        "f: -(x * mask).minimum(x - 2) -> (x * mask).minimum(x - 2)",
        "f: (x * mask).minimum(x - 2) -> (x * mask).maximum(x - 2)",
        "f: x * mask -> x",
        "f: x * mask -> mask",
        "f: x - 2 -> x + 2",
        "f: 2 -> 3",
        "f: 2 -> -2",
    ]


def test_a_mutant_differs_in_one_place_and_the_source_stays_whole() -> None:
    found = list(mutants("a = x < y\nb = not c"))
    namespaces: list[dict[str, object]] = []
    for mutant in found:
        namespace: dict[str, object] = {"x": 1, "y": 1, "c": True}
        exec(compile(mutant.tree, "mutant", "exec"), namespace)
        namespaces.append({"a": namespace["a"], "b": namespace["b"]})
    assert namespaces == [{"a": True, "b": False}, {"a": False, "b": False}, {"a": False, "b": True}]


def test_equal_mutants_of_one_function_are_told_apart() -> None:
    assert names("a = -x\nb = -x") == ["module: -x -> x", "module: -x -> x (#2)"]


def test_words_and_types_are_left_alone() -> None:
    assert names('"""Text 1."""\nfrom a import b\nif TYPE_CHECKING:\n    x = 1\n\ndef f(x: 1) -> 2:\n    """3"""') == []


@pytest.mark.slow
def test_no_wrong_formula_goes_unnoticed() -> None:
    result = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("run.py"))], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
