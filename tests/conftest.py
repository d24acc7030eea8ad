"""A stage's surroundings without a pipeline: what it logs, says and saves can be looked at."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import tuningfork.stages
from tuningfork.kinds import STAGE_FOLDERS
from tuningfork.runtime import Runtime
from tuningfork.stage import ResolvedInput, StageContext


@dataclass
class Recorder:
    """Events that are kept instead of shown."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    on_log: Callable[[int], None] = lambda step: None

    def log(self, *, step: int, **metrics: Any) -> None:
        self.rows.append({"step": step, **metrics})
        self.on_log(step)

    def rewind(self, step: int) -> None:
        self.rows = [row for row in self.rows if row["step"] <= step]

    def say(self, text: str) -> None:
        self.said.append(text)

    def progress(self, total: float, label: str, unit: str = "step", done: float = 0) -> Recorder:
        return self

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def advance(self, amount: float = 1, **figures: float) -> None:
        return None


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own settings, keys, or replies of models."""
    monkeypatch.setenv("TUNINGFORK_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("TUNINGFORK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def make_stage(tmp_path: Path) -> Callable[..., StageContext]:
    """`make_stage(name, inputs={field: path}, seed=0)`: a stage context below a temporary folder of that name."""

    def make(name: str = "stage", inputs: Mapping[str, Path] | None = None, seed: int = 0) -> StageContext:
        out, work = tmp_path / name / "out", tmp_path / name / "work"
        out.mkdir(parents=True, exist_ok=True)
        work.mkdir(parents=True, exist_ok=True)
        resolved = {field: ResolvedInput(str(path), key=str(path), path=path) for field, path in (inputs or {}).items()}
        return StageContext(name, out, work, seed, Runtime("cpu", "fp32", 1), resolved, Recorder())

    return make


@pytest.fixture
def fake_stages(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The kinds `steps` and `measure`, which need no torch, in this process and in workers; their folder."""
    folder = Path(__file__).parent / "unit" / "pipeline" / "stages"
    monkeypatch.setenv(STAGE_FOLDERS, str(folder))
    shipped = list(tuningfork.stages.__path__)
    yield folder
    tuningfork.stages.__path__[:] = shipped
    for name in [name for name in sys.modules if name.startswith("tuningfork.stages.")]:
        if str(Path(str(sys.modules[name].__file__)).parent) not in shipped:
            del sys.modules[name]


@pytest.fixture
def write_recipe(tmp_path: Path, fake_stages: Path) -> Callable[..., Path]:
    """`write_recipe("- steps: {}", name="small")`: a recipe file that computes on the CPU in fp32."""

    def write(stages: str, name: str = "small", head: str = "") -> Path:
        path = tmp_path / f"{name}.yaml"
        runtime = "runtime: {device: cpu, precision: fp32, threads: 1}"
        path.write_text(f"version: 1\nname: {name}\n{runtime}\n{head}\nstages:\n{stages}\n", encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    from tuningfork.model.tokenizer import train_tokenizer

    return train_tokenizer(["the cat sat on the mat and it is red", "what colour is the cat?\n it is blue."] * 20, 330)


@pytest.fixture
def tiny_backbone(tiny_tokenizer: Any) -> Any:
    """A new one-layer model of width 32 over a small byte-level BPE; every parameter trains."""
    import copy

    from tuningfork.model.loading import new_backbone
    from tuningfork.model.settings import ScratchSettings

    settings = ScratchSettings(
        layers=1, width=32, heads=2, feed_forward=48, context=64, vocabulary=330, initializer_range=0.15
    )
    return new_backbone(settings, copy.deepcopy(tiny_tokenizer), 0, Runtime("cpu", "fp32", 1))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test begins first: at the end one worker would run it and the others wait."""
    items.sort(key=lambda item: item.name != "test_no_wrong_formula_goes_unnoticed")
