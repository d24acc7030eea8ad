"""Who may import whom. Read from the source, so that an import inside a function counts too."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "tuningfork"
FILES = sorted(PACKAGE.rglob("*.py"))
COMPONENTS = (
    "asking", "data", "evals", "judges", "methods", "model", "preference_training", "reward", "reward_training", "rollout",
    "streams", "teachers", "train", "worlds",
)  # fmt: skip
ORCHESTRATION = (
    "catalogue", "cli", "composition", "data_commands", "display", "doctor", "document", "explain", "keys", "label_commands",
    "pipeline", "recipe", "references", "resolved", "runs", "single", "sources", "summaries", "supervisor", "trust",
    "validation", "worker",
)  # fmt: skip
TORCH_FREE = (
    *ORCHESTRATION, "artifacts", "errors", "asking.settings",
    *(f"evals.{name}" for name in ("accuracy", "agreement_statistics", "baselines", "calibration", "card_settings", "card_text",
                                   "card_verdict", "ceiling", "combine", "correlation", "feedback", "learning_curve",
                                   "reward_card", "sensitivity", "statistics", "summary", "verdict")),
    "faults", "feedback", "folders", "kinds", "methods", "preference_training.settings", "report", "reward.ensemble",
    "reward_training.settings", "runtime", "settings", "stage", "stages", "teachers.settings", "tensors", "train.settings", "worlds",
)  # fmt: skip


def name_of(path: Path) -> str:
    """`train/loop.py` as `train.loop`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """Everything a file imports, anywhere: `from a import b` counts as a and as a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def breaches(inside: tuple[str, ...], forbidden: tuple[str, ...]) -> list[str]:
    """`file imports module` for every import of `forbidden` packages from `inside` ones."""
    wanted = tuple(f"tuningfork.{name}" for name in forbidden)
    return [
        f"{name_of(path)} imports {module}"
        for path in FILES
        if is_below(name_of(path), inside)
        for module in sorted(imports(path))
        if is_below(module, wanted)
    ]


def is_below(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize(
    ("inside", "forbidden"),
    [
        (("rollout",), ("reward",)),
        (("reward",), ("rollout",)),
        (("train",), ("methods", "stages", "rollout", "reward")),
        (("stages",), ("stages",)),
        (COMPONENTS, ("stages", *ORCHESTRATION)),
        (("artifacts",), (*COMPONENTS, "stages", "recipe", "pipeline", "supervisor", "report")),
        (("report",), ("stages", "model", "train", "rollout", "reward", "recipe", "pipeline", "supervisor")),
        (("feedback",), (*(name for name in COMPONENTS if name not in ("data", "evals")), "stages", *ORCHESTRATION)),
        (("stages",), ("recipe", "pipeline", "supervisor", "worker", "cli", "artifacts")),
    ],
    ids=lambda names: "+".join(names[:3]),
)
def test_layers(inside: tuple[str, ...], forbidden: tuple[str, ...]) -> None:
    assert any(is_below(name_of(path), inside) for path in FILES)
    assert breaches(inside, forbidden) == []


def test_only_one_module_finds_stages() -> None:
    users = {name_of(path) for path in FILES if any(is_below(m, ("tuningfork.stages",)) for m in imports(path))}
    assert users == {"kinds"}


def test_torch_distributed_is_in_one_file() -> None:
    users = {name_of(path) for path in FILES if any(is_below(m, ("torch.distributed",)) for m in imports(path))}
    attributes = {
        name_of(path)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "distributed"
    }
    assert users | attributes <= {"train.world"}


def test_nothing_is_read_by_unpickling() -> None:
    for path in FILES:
        assert not imports(path) & {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}, path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {("torch", "load"), ("torch", "save")}, path


def test_no_drawers() -> None:
    names = {part for path in FILES for part in name_of(path).split(".")}
    assert not names & {"utils", "util", "common", "helpers", "helper", "misc"}


def test_what_needs_no_torch_does_not_import_it() -> None:
    modules = [f"tuningfork.{name_of(path)}" for path in FILES if is_below(name_of(path), TORCH_FREE)]
    assert {"tuningfork.cli", "tuningfork.stages.rl", "tuningfork.methods.policy.ppo"} <= set(modules)
    program = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\n"
    program += "    assert 'torch' not in sys.modules and 'transformers' not in sys.modules, name"
    found = subprocess.run([sys.executable, "-c", program, *modules], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr.splitlines()[-1]
