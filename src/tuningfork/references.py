"""What the inputs of a stage name: an earlier stage or a file of its artifact, a path, a model or data set of the hub, or
a file of an embedded world."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tuningfork.data.sources import HUB, WORLD
from tuningfork.document import Origin
from tuningfork.errors import RecipeError
from tuningfork.kinds import stage_kinds, suggestion
from tuningfork.worlds import world_names

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_MODEL_FIELDS = {"model", "tokenizer", "base", "classifier", "reference", "reward", "policy"}


@dataclass(frozen=True)
class StageReference:
    """An earlier stage's artifact, or a file or folder of it."""

    stage: str
    file: str = ""

    def __str__(self) -> str:
        return f"{self.stage}/{self.file}" if self.file else self.stage


@dataclass(frozen=True)
class PathReference:
    """A file or folder outside the run."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class HubReference:
    """A model of the hub; whether it is there is known when it is loaded."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class DataReference:
    """Rows that no file holds: `world:NAME/FILE` of an embedded world, or a data set `hf:NAME` of the hub."""

    name: str

    def __str__(self) -> str:
        return self.name


Reference = StageReference | PathReference | HubReference | DataReference


def resolve_reference(
    field: str, value: str, origin: Origin, earlier: Sequence[str], later: Sequence[str]
) -> Reference:
    """What `value` of the input `field` names. `earlier` and `later` are ids of stages, without and with this one.

    Looked for in this order: `world:` and `hf:` data (not where the field is that of a model), stage, path beside the
    recipe, path from the current directory, hub id (only where the field is that of a model). RecipeError where it is
    none of them.
    """
    if value.startswith((WORLD, HUB)) and not _is_model(field):
        _check_world(f"{origin.place}: {field}: {value}", value)
        return DataReference(value)
    stage, _, file = value.partition("/")
    if stage in earlier:
        if ".." in Path(file).parts:
            raise RecipeError(f"{origin.place}: {field}: {value} leaves the folder of stage {stage}")
        return StageReference(stage, file)
    if (path := find_path(value, origin)) is not None:
        return PathReference(path)
    if stage in later:
        raise RecipeError(
            f"{origin.place}: {field}: {value} is not there yet: a stage reads only stages before it ({_list(earlier)})"
        )
    near = difflib.get_close_matches(stage, earlier, n=1, cutoff=0.75)
    if near:
        meant = f"{near[0]}/{file}" if file else near[0]
        raise RecipeError(
            f"{origin.place}: {field}: {value} is neither an earlier stage nor a path; did you mean {meant}?"
        )
    if stage not in stage_kinds() and _may_be_hub_id(field, value):
        return HubReference(value)
    folders = " or ".join(dict.fromkeys(str(folder) for folder in (origin.base, Path.cwd()) if folder))
    missing = f"no stage before this one ({_list(earlier)}), no path in {folders}"
    raise RecipeError(f"{origin.place}: {field}: {value} does not exist: {missing}")


def find_path(value: str, origin: Origin) -> Path | None:
    """The absolute path that `value` names from the folder of its origin or from the current directory."""
    given = Path(value).expanduser()
    for folder in (origin.base, Path.cwd()):
        if folder is not None and value.strip() and (folder / given).exists():
            return Path(folder / given).resolve()
    return None


def _may_be_hub_id(field: str, value: str) -> bool:
    return _is_model(field) and _HUB_ID.fullmatch(value) is not None and not value.endswith((".jsonl", ".gz"))


def _is_model(field: str) -> bool:
    return field.rpartition(".")[2] in _MODEL_FIELDS


def _check_world(where: str, value: str) -> None:
    """RecipeError for a world that is not there, or no file of it; which files it has is known when it is built."""
    world, slash, file = value.removeprefix(WORLD).partition("/")
    if value.startswith(WORLD) and world not in world_names():
        raise RecipeError(f"{where}: there is no world {world!r}; {suggestion(world, world_names())}")
    if value.startswith(WORLD) and not (slash and file):
        raise RecipeError(f"{where}: name a file of the world, as in world:{world}/sft")


def _list(stages: Sequence[str]) -> str:
    return ", ".join(stages) or "there are none"
