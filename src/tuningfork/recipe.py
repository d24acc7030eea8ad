"""A recipe: a model, data, and an ordered list of stages. Read from YAML, composed, and checked to the last key.

Composition, each step over the one before: the file, the variant `pretrained` where `model` names an existing model,
`key=value` overrides. Then `$model`, `$data` and `$seed` inside stages are replaced by the recipe's values.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tuningfork.artifacts.files import hash_json
from tuningfork.composition import (
    COMMAND_LINE,
    STAGE_KEYS,
    apply_overrides,
    dotted,
    kind_at,
    refuse_secrets,
    stage_ids,
    substitute,
)
from tuningfork.document import Document, Location, Origin, parse, put_at
from tuningfork.errors import RecipeError
from tuningfork.kinds import stage_settings, suggestion
from tuningfork.references import Reference, find_path, resolve_reference
from tuningfork.runtime import RuntimeSettings
from tuningfork.settings import CodeMarker, Settings, input_fields, marked_values
from tuningfork.validation import validate


class SearchSettings(Settings):
    """A search of settings before the run; see `tuningfork.search`."""

    seed: int = Field(ge=0)
    """seed of the trials: not one that is raced"""
    measure: str
    """metric of the last look that decides, such as `gold/positive_share`; higher is better"""
    kl_limit: float = Field(gt=0)
    """nats a response; of the settings that end within them the best is taken"""
    set: dict[str, Any] = Field(default_factory=dict)
    """values for the trials only, by dotted name, such as shorter budgets; `*.budget` is that of every contestant"""
    grid: dict[str, list[dict[str, Any]]] = Field(min_length=1)
    """stage that is looked at -> the settings it tries, each a mapping `dotted.key: value`; equally many for all"""


class RecipeHeader(Settings):
    """A recipe without its stages' settings."""

    version: Literal[1]
    """version of the recipe format"""
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """name of the recipe; its runs go to runs/<name>"""
    description: str = ""
    """what the recipe is for, in a line or two"""
    seed: int = Field(default=0, ge=0)
    """seed of every draw"""
    seeds: tuple[int, ...] | None = Field(default=None, min_length=1)
    """several seeds: one run each, one summary over all"""
    model: Any = None
    """the model, for stages that say `$model`: a folder, a hub id, or `{scratch: ...}`"""
    data: Any = None
    """the data, for stages that say `$data` or `$data/file`"""
    runtime: RuntimeSettings = RuntimeSettings()
    """device, precision and threads"""
    second_read: bool = False
    """whether test prompts may be read again after other settings were tried on them; the report counts how often"""
    search: SearchSettings | None = None
    """settings that are tried on another seed first; the best of them are run"""
    stages: list[dict[str, Any]] = Field(min_length=1)
    """the stages in order, `- <kind>: {settings}`; `id` names a stage whose kind occurs twice"""
    variants: dict[Literal["pretrained"], dict[str, Any]] = Field(default_factory=dict)
    """values, `dotted.key: value`, for when `model` names an existing model"""


@dataclass(frozen=True)
class Stage:
    """One stage of a recipe, checked."""

    id: str
    kind: str
    number: int
    seed: int
    settings: Settings
    inputs: Mapping[str, Reference]
    """by dotted field name"""
    location: Location

    @property
    def folder(self) -> str:
        """Name of its folder in a run."""
        return f"{self.number}-{self.id}"


@dataclass(frozen=True)
class Recipe:
    """A checked recipe.

    `document` holds its data with references replaced, and where each value came from; `composed` is the same before.
    """

    header: RecipeHeader
    stages: tuple[Stage, ...]
    document: Document
    composed: Document
    source: str

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.header.name

    @property
    def choice(self) -> str:
        """Hash of everything somebody chose: the kinds and settings of all stages, without seeds, names and code."""
        return hash_json([[stage.kind, absolute_inputs(stage)] for stage in self.stages])

    def with_seed(self, seed: int) -> Recipe:
        """The same recipe for one of its seeds."""
        document = copy.deepcopy(self.composed)
        origin = document.origin(("seeds",)) or COMMAND_LINE
        document.put(("seed",), seed, origin)
        document.put(("seeds",), None, origin)
        return check_recipe(document, self.source)


def shipped_recipes() -> dict[str, Path]:
    """Recipes that come with the package, by name."""
    folder = Path(str(files("tuningfork.recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_recipe(name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a file, or a shipped one by name, with `key=value` overrides. RecipeError for what is wrong in it.

    Example:
        load_recipe("snazzy", ["seed=1", "rl.method.clip_range=0.1"])
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml") and not path.is_file():
        shipped = shipped_recipes()
        if str(name) not in shipped:
            nearest = suggestion(str(name), shipped)
            raise RecipeError(f"there is no recipe {str(name)!r}, neither shipped nor a .yaml file; {nearest}")
        path = shipped[str(name)]
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror})") from error
    return compose_recipe(parse(text, str(path), path.resolve().parent), str(path), overrides)


def compose_recipe(document: Document, source: str, overrides: Sequence[str] = ()) -> Recipe:
    """Apply variants and overrides to a parsed recipe, and check it."""
    if not isinstance(document.data, dict):
        raise RecipeError(f"{source}: a recipe is a mapping with version, name and stages")
    validate(RecipeHeader, document.data, document, (), "")
    apply_overrides(document, overrides)
    return check_recipe(document, source)


def check_recipe(composed: Document, source: str) -> Recipe:
    """Check composed data: header, every stage's settings, every input. RecipeError for the first that is wrong."""
    document = copy.deepcopy(composed)
    refuse_secrets(document)
    header = validate(RecipeHeader, document.data, document, (), "")
    substitute(document)
    ids = stage_ids(document)
    stages = tuple(_check_stage(document, header, ids, index) for index in range(len(ids)))
    return Recipe(header, stages, document, composed, source)


def _check_stage(document: Document, header: RecipeHeader, ids: list[str], index: int) -> Stage:
    kind = kind_at(document, index)
    location: Location = ("stages", index, kind)
    given = document.data["stages"][index][kind]
    settings_class = _settings_class(kind, document.origins[location])
    own = {key: value for key, value in given.items() if key not in STAGE_KEYS or key in settings_class.model_fields}
    own = copy.deepcopy(own)
    settings = validate(settings_class, own, document, location, ids[index])
    if _make_code_absolute(settings, own, document, location):
        settings = validate(settings_class, own, document, location, ids[index])
    inputs = {}
    for field, value in input_fields(settings).items():
        default = replace(document.origins[location], label="default")
        origin = document.origins.get((*location, *dotted(field)), default)
        inputs[field] = resolve_reference(f"{ids[index]}.{field}", value, origin, ids[:index], ids[index:])
    seed = _stage_seed(given.get("seed", header.seed), ids[index], document.origin((*location, "seed")))
    return Stage(ids[index], kind, index + 1, seed, settings, inputs, location)


def _make_code_absolute(settings: Settings, data: dict[str, Any], document: Document, location: Location) -> bool:
    """Resolve `file.py:function` in `data` as inputs are resolved; whether anything changed."""
    changed = False
    for place, value in marked_values(settings, CodeMarker):
        file, colon, function = str(value).rpartition(":")
        origin = document.origins.get((*location, *place))
        if origin is None or not file.endswith(".py"):
            continue
        found = find_path(file, origin)
        if found is None:
            raise RecipeError(f"{origin.place}: {'.'.join(map(str, place))}: {file} does not exist")
        put_at(data, place, f"{found}{colon}{function}")
        changed = True
    return changed


def _stage_seed(seed: Any, id: str, origin: Origin | None) -> int:
    if type(seed) is not int or seed < 0:
        raise RecipeError(f"{(origin or COMMAND_LINE).place}: {id}.seed: must be a whole number from 0, got {seed!r}")
    return seed


def _settings_class(kind: str, origin: Origin) -> type[Settings]:
    try:
        return stage_settings(kind)
    except RecipeError as error:
        raise RecipeError(f"{origin.place}: {error}") from error


def absolute_inputs(stage: Stage) -> dict[str, Any]:
    """The settings of a stage as plain data, with paths made absolute so that they mean the same from anywhere."""
    return with_inputs(stage, {field: str(reference) for field, reference in stage.inputs.items()})


def with_inputs(stage: Stage, values: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a stage as plain data with other values of its inputs, by dotted field name."""
    data: dict[str, Any] = stage.settings.model_dump(mode="json")
    for field, value in values.items():
        put_at(data, dotted(field), value)
    return data
