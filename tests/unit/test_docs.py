"""What the README promises is there: links, commands, recipes, and the PPO loss one click away and on one screen."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from tuningfork.recipe import shipped_recipes

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCREEN = 60
"""Lines of code on a screen."""


def test_the_ppo_loss_is_one_click_away_and_fits_on_a_screen() -> None:
    match = re.search(r"\]\((src/tuningfork/methods/policy/ppo\.py)#L(\d+)\)", README)
    assert match, "the README links the PPO loss"
    source = (ROOT / match[1]).read_text(encoding="utf-8")
    assert source.splitlines()[int(match[2]) - 1].startswith("def token_loss"), "the link has to point at the loss"
    functions = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    whole = [functions[name] for name in ("needs", "advantages", "token_loss")]
    assert sum((node.end_lineno or 0) - node.lineno + 1 for node in whole) <= SCREEN


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)", README))))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^tuningfork (\w+)", README, flags=re.MULTILINE))))
def test_commands_of_the_readme_exist(command: str) -> None:
    import typer.main

    from tuningfork.cli import app

    assert command in typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("recipe", sorted(set(re.findall(r"^tuningfork run ([\w-]+)", README, flags=re.MULTILINE))))
def test_recipes_of_the_readme_are_shipped(recipe: str) -> None:
    assert recipe in shipped_recipes()


@pytest.mark.parametrize(
    "folder", sorted(path.name for path in (ROOT / "src" / "tuningfork").iterdir() if path.is_dir())
)
def test_every_package_stands_in_the_file_tree(folder: str) -> None:
    if folder != "__pycache__":
        assert f"  {folder}/" in README


def test_the_tables_of_methods_are_those_of_the_methods_files() -> None:
    found = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert found is not None and found.loader is not None
    generate = importlib.util.module_from_spec(found)
    found.loader.exec_module(generate)
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert generate.generated(text) == text, "docs/methods.md is out of date: `make docs` writes it"
    emptied = re.sub(r"(<!-- generated: .*? -->\n).*?(<!-- end -->)", r"\1\2", text, flags=re.DOTALL)
    assert emptied != text and generate.generated(emptied) == text
