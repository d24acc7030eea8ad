"""A recipe: a model, data, and an ordered list of stages. Read from YAML, composed with overrides, checked to the last key.

Composition, each step over the one before: the file, the variant `pretrained` where `model` names an existing model,
`key=value` overrides. Then `$model`, `$data` and `$seed` inside stages are replaced by the recipe's values.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tuningfork.document import Document, Location, Origin, parse, parse_value, walk
from tuningfork.errors import RecipeError
from tuningfork.kinds import stage_settings, suggestion
from tuningfork.references import Reference, resolve_reference
from tuningfork.runtime import RuntimeSettings
from tuningfork.settings import Settings, input_fields
from tuningfork.validation import models_at, validate

COMMAND_LINE = Origin("command line")
SHARED_VALUES = ("model", "data", "seed")
_RESERVED = ("id", "seed")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SECRET = re.compile(r"(^|.*_)(api_?key|password|passwd|secret|((hf|hub|auth|access|api|bearer)_)?token)", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"(hf_|sk-|ghp_|xox[bp]-)[A-Za-z0-9_-]{16,}")


class RecipeHeader(Settings):
    """A recipe without its stages' settings."""

    version: Literal[1]
    """version of the recipe format"""
    name: str = Field(min_length=1, pattern=_NAME.pattern + "$")
    """name of the recipe; its runs go to runs/<name>"""
    description: str = ""
    """what the recipe is for, in a line or two"""
    seed: int = Field(0, ge=0)
    """seed of every draw"""
    seeds: tuple[int, ...] | None = Field(None, min_length=1)
    """several seeds: one run each, one summary over all"""
    model: Any = None
    """the model, for stages that say `$model`: a folder, a hub id, or `{scratch: ...}`"""
    data: Any = None
    """the data, for stages that say `$data`"""
    runtime: RuntimeSettings = RuntimeSettings()
    """device, precision and threads"""
    stages: list[dict[str, Any]] = Field(min_length=1)
    """the stages in order: `- <kind>: {settings}`; `id` names a stage whose kind occurs twice"""
    variants: dict[Literal["pretrained"], dict[str, Any]] = {}
    """values (dotted key: value) for when `model` names an existing model"""


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
    """A checked recipe. `document` holds the composed data and where each value came from."""

    header: RecipeHeader
    stages: tuple[Stage, ...]
    document: Document
    source: str

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.header.name

    def stage(self, id: str) -> Stage:
        """The stage of this id; RecipeError for an unknown one."""
        for stage in self.stages:
            if stage.id == id:
                return stage
        raise RecipeError(f"recipe {self.name} has no stage {id!r}; {suggestion(id, [s.id for s in self.stages])}")

    def with_seed(self, seed: int) -> Recipe:
        """The same recipe for one of its seeds."""
        document = copy.deepcopy(self.document)
        document.put(("seed",), seed, document.origin(("seeds",)) or COMMAND_LINE)
        document.put(("seeds",), None, document.origin(("seeds",)) or COMMAND_LINE)
        return check_recipe(document, self.source)


def shipped_recipes() -> dict[str, Path]:
    """Recipes that come with the package, by name."""
    folder = Path(str(files("tuningfork.recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_recipe(name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a file, or a shipped one by name, with `key=value` overrides.

    Example:
        load_recipe("snazzy", ["seed=1", "rl.method.clip_range=0.1"])
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml") and not path.is_file():
        shipped = shipped_recipes()
        if str(name) not in shipped:
            raise RecipeError(f"there is no recipe {str(name)!r}, neither shipped nor a .yaml file; {suggestion(str(name), shipped)}")
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
    pairs = [_split_override(text) for text in overrides]
    model = next((value for key, value in reversed(pairs) if key == "model"), document.data.get("model"))
    variants = document.data.pop("variants", None) or {}
    validate(RecipeHeader, {**document.data, "variants": variants}, document, (), "")
    for name, values in variants.items():
        if not isinstance(values, dict):
            place = document.origins[("variants", name)].place
            raise RecipeError(f"{place}: variants.{name} must be a mapping of dotted keys")
        for key, value in values.items():
            origin = replace(document.origins[("variants", name, key)], label=f"variant {name}")
            location = _locate(document, key, origin)
            _refuse_unknown(document, key, location, origin)
            if isinstance(model, str):
                document.put(location, value, origin)
    for key, value in pairs:
        document.put(_locate(document, key, COMMAND_LINE), value, COMMAND_LINE)
    return check_recipe(document, source)


def check_recipe(document: Document, source: str) -> Recipe:
    """Check composed data: header, every stage's settings, every input. RecipeError for the first that is wrong."""
    data = document.data
    _refuse_secrets(document)
    header = validate(RecipeHeader, data, document, (), "")
    _substitute(document, header)
    ids = [_stage_id(document, index) for index in range(len(header.stages))]
    for index, id in enumerate(ids):
        if id in ids[:index]:
            place = document.origins[("stages", index)].place
            raise RecipeError(f"{place}: two stages are called {id}; give one of them another id: `- {_kind(data, index)}: {{id: ...}}`")
    stages = tuple(_check_stage(document, header, ids, index) for index in range(len(ids)))
    return Recipe(header, stages, document, source)


def _check_stage(document: Document, header: RecipeHeader, ids: list[str], index: int) -> Stage:
    kind = _kind(document.data, index)
    location: Location = ("stages", index, kind)
    given = document.data["stages"][index][kind]
    settings_class = _settings_class(document, location, kind)
    own = {key: value for key, value in given.items() if key not in _RESERVED or key in settings_class.model_fields}
    seed = given.get("seed", header.seed)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise RecipeError(f"{document.origins[(*location, 'seed')].place}: {ids[index]}.seed: must be a whole number, got {seed!r}")
    settings = validate(settings_class, own, document, location, ids[index])
    inputs = {}
    for field, value in input_fields(settings).items():
        origin = document.origin((*location, *_steps(field))) or COMMAND_LINE
        inputs[field] = resolve_reference(f"{ids[index]}.{field}", value, origin, ids[:index], ids[index:])
    return Stage(ids[index], kind, index + 1, seed, settings, inputs, location)


def _settings_class(document: Document, location: Location, kind: str) -> type[Settings]:
    try:
        return stage_settings(kind)
    except RecipeError as error:
        raise RecipeError(f"{document.origins[location].place}: {error}") from error


def _kind(data: Any, index: int) -> str:
    return next(iter(data["stages"][index]))


def _stage_id(document: Document, index: int) -> str:
    entry = document.data["stages"][index]
    place = document.origins[("stages", index)].place
    if len(entry) != 1:
        raise RecipeError(f"{place}: a stage is one key with its settings, `- sft: {{...}}`, got {', '.join(entry) or 'nothing'}")
    kind = next(iter(entry))
    if entry[kind] is None:
        entry[kind] = {}
    if not isinstance(entry[kind], dict):
        raise RecipeError(f"{place}: {kind}: the settings of a stage are a mapping, got {entry[kind]!r}")
    id = entry[kind].get("id", kind)
    if not isinstance(id, str) or not _NAME.fullmatch(id) or "." in id or id in RecipeHeader.model_fields:
        raise RecipeError(f"{place}: {kind}.id: {id!r} cannot be the id of a stage: letters, digits, - and _, and no key of a recipe")
    return id


def _split_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"command line: {text!r} is not of the form key=value")
    return key.strip(), parse_value(value)


def _locate(document: Document, key: str, origin: Origin) -> Location:
    """Where a dotted key points to; stages are addressed by id."""
    first, *rest = key.split(".")
    stages = document.data.get("stages")
    ids = [_stage_id(document, index) for index in range(len(stages))] if isinstance(stages, list) else []
    if first in ids:
        index = ids.index(first)
        if not rest:
            raise RecipeError(f"{origin.place}: {key}: name a setting of the stage, such as {first}.{_example(document, index)}")
        return ("stages", index, _kind(document.data, index), *_steps(".".join(rest)))
    allowed = sorted(set(RecipeHeader.model_fields) - {"stages", "variants", "version"})
    if first not in allowed:
        raise RecipeError(f"{origin.place}: {key}: unknown key; {suggestion(first, [*ids, *allowed])}")
    return (first, *_steps(".".join(rest)))


def _refuse_unknown(document: Document, key: str, location: Location, origin: Origin) -> None:
    """RecipeError for a dotted key that no stage has; asked also where the value is not applied."""
    if location[0] != "stages":
        return
    settings_class, steps = stage_settings(str(location[2])), location[3:]
    for depth, step in enumerate(steps):
        models = models_at(settings_class, steps[:depth], None)
        known = {name for model in models for name in model.model_fields}
        if models and step not in known and not (depth == 0 and step in _RESERVED):
            raise RecipeError(f"{origin.place}: {key}: unknown key; {suggestion(str(step), known)}")


def _example(document: Document, index: int) -> str:
    return next(iter(stage_settings(_kind(document.data, index)).model_fields), "seed")


def _steps(dotted: str) -> Location:
    return tuple(int(step) if step.isdecimal() else step for step in dotted.split(".") if step)


def _substitute(document: Document, header: RecipeHeader) -> None:
    """Replace `$model`, `$data`, `$seed` and `$data/file` inside stages by the recipe's values."""
    for location, value in list(walk(document.data["stages"], ("stages",))):
        if not isinstance(value, str) or not value.startswith("$"):
            continue
        name, slash, rest = value[1:].partition("/")
        place = document.origins[location].place
        if name not in SHARED_VALUES:
            raise RecipeError(f"{place}: {value}: unknown reference; {suggestion(name, SHARED_VALUES)} (written with $)")
        shared = getattr(header, name)
        if shared is None:
            raise RecipeError(f"{place}: {value}: the recipe has no {name}; add `{name}: ...` to it or give {name}=...")
        if slash and not isinstance(shared, str):
            raise RecipeError(f"{place}: {value}: {name} is not a path")
        origins = {at[1:]: origin for at, origin in document.origins.items() if at[:1] == (name,)}
        document.put(location, f"{shared}/{rest}" if slash else copy.deepcopy(shared), origins.get((), document.origins[location]))
        document.origins.update({(*location, *below): origin for below, origin in origins.items()})


def _refuse_secrets(document: Document) -> None:
    for location, value in walk(document.data):
        key = str(location[-1]) if location else ""
        if isinstance(value, str) and value and (_SECRET.fullmatch(key) or _SECRET_VALUE.fullmatch(value)):
            origin = document.origin(location)
            place = f"{origin.place}: " if origin else ""
            raise RecipeError(f"{place}{key}: a recipe holds no secrets; give the name of an environment variable, as {key}_env")


def absolute_inputs(recipe: Recipe, stage: Stage) -> dict[str, Any]:
    """The settings of a stage as plain data, with paths made absolute so that they mean the same from anywhere."""
    data: dict[str, Any] = stage.settings.model_dump(mode="json")
    for field, reference in stage.inputs.items():
        here: Any = data
        *way, last = _steps(field)
        for step in way:
            here = here[step]
        here[last] = str(reference)
    return data

