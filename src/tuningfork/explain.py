"""What a setting is: type, default, limits, meaning, from the classes that check recipes. Also the JSON schema."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tuningfork import validation
from tuningfork.document import Location, render_scalar
from tuningfork.errors import RecipeError
from tuningfork.kinds import stage_kinds, stage_settings, stage_summary, suggestion
from tuningfork.recipe import Recipe, RecipeHeader
from tuningfork.resolved import resolved_data, value_origin


def explain(key: str, recipe: Recipe | None = None) -> str:
    """Text about a recipe key (`runtime.device`), a stage kind (`rl`) or a setting of one (`rl.optimizer.floor`).

    With `recipe`, stages are addressed by their ids, and the value and its origin are told too.
    """
    first, *rest = key.split(".")
    ids = {stage.id: stage for stage in recipe.stages} if recipe else {}
    if first in ids or first in stage_kinds():
        kind = ids[first].kind if first in ids else first
        if not rest:
            return _explain_kind(kind)
        location = ids[first].location if first in ids else None
        return _explain_field(key, stage_settings(kind), rest, recipe, location)
    if first in RecipeHeader.model_fields:
        return _explain_field(key, RecipeHeader, [first, *rest], recipe, ())
    known = [*ids, *stage_kinds(), *RecipeHeader.model_fields]
    raise RecipeError(f"{key}: neither a stage nor a key of a recipe; {suggestion(first, known)}")


def _explain_kind(kind: str) -> str:
    settings = stage_settings(kind)
    lines = [f"{kind}: {stage_summary(kind)}", ""]
    width = max((len(name) for name in settings.model_fields), default=0)
    for name, field in settings.model_fields.items():
        value = f"{type_name(field.annotation)}, {_default(field)}"
        lines.append(f"  {name.ljust(width)}  {value}. {field.description or ''}".rstrip())
    return "\n".join(lines)


def _explain_field(
    key: str, settings: type[BaseModel], steps: list[str], recipe: Recipe | None, location: Location | None
) -> str:
    fields = list(_fields_at(settings, steps))
    if not fields:
        known = {
            name for model in validation.models_at(settings, tuple(steps[:-1]), None) for name in model.model_fields
        }
        raise RecipeError(f"{key}: unknown key; {suggestion(steps[-1], known)}")
    lines = []
    for owner, field in fields:
        lines += [
            f"{key}" + (f" (of {owner.__name__})" if len(fields) > 1 else ""),
            f"  {field.description or ''}".rstrip(),
        ]
        lines += [f"  type: {type_name(field.annotation)}{_limits(field)}", f"  {_default(field)}"]
        for model in validation.models_at(field.annotation, (), None):
            lines.append(f"  {model.__name__}: {', '.join(model.model_fields)}. {inspect.getdoc(model) or ''}".rstrip())
    if recipe is not None and location is not None:
        place = (*location, *(int(step) if step.isdecimal() else step for step in steps))
        lines.append(f"  value: {render_scalar(value_at(recipe, place))}  ({value_origin(recipe, place)})")
    return "\n".join(lines)


def value_at(recipe: Recipe, location: Location) -> Any:
    """The resolved value at a location; RecipeError where the recipe has none."""
    here: Any = resolved_data(recipe)
    for step in location:
        try:
            here = here[step]
        except (KeyError, IndexError, TypeError):
            raise RecipeError(f"recipe {recipe.name} has no value for {step}") from None
    return here


def _fields_at(settings: type[BaseModel], steps: list[str]) -> Iterator[tuple[type[BaseModel], FieldInfo]]:
    for model in validation.models_at(settings, tuple(steps[:-1]), None):
        if steps[-1] in model.model_fields:
            yield model, model.model_fields[steps[-1]]


def type_name(annotation: Any) -> str:
    """A type in the words of a recipe."""
    if get_origin(annotation) is Annotated:
        return type_name(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (list, tuple):
        return f"list of {type_name(get_args(annotation)[0])}"
    if get_origin(annotation) is dict:
        return f"mapping of {type_name(get_args(annotation)[1])}"
    if get_args(annotation):
        return " | ".join(type_name(arm) for arm in get_args(annotation))
    words = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "true | false",
        type(None): "null",
        Any: "anything",
    }
    return words.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, BaseModel):
        given = default.model_dump(mode="json", exclude_unset=True)
        return f"default: {type(default).__name__} {render_scalar(given) if given else 'with its defaults'}"
    return f"default: {render_scalar(default)}"


def _limits(field: FieldInfo) -> str:
    words = {
        "ge": "at least",
        "gt": "above",
        "le": "at most",
        "lt": "below",
        "min_length": "length at least",
        "max_length": "length at most",
    }
    found = [
        f"{word} {getattr(item, name)}"
        for item in field.metadata
        for name, word in words.items()
        if getattr(item, name, None) is not None
    ]
    return f" ({', '.join(found)})" if found else ""


def recipe_schema() -> dict[str, Any]:
    """JSON schema of recipes, for editors."""
    schema = RecipeHeader.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    entries = []
    for kind in stage_kinds():
        settings = stage_settings(kind).model_json_schema(ref_template=f"#/$defs/{kind}.{{model}}")
        for name, definition in settings.pop("$defs", {}).items():
            definitions[f"{kind}.{name}"] = definition
        settings["properties"] = {name: _or_reference(value) for name, value in settings["properties"].items()}
        settings["properties"] = {
            "id": {"type": "string", "description": "name of the stage"},
            "seed": {"type": "integer"},
        } | settings["properties"]
        settings.pop("required", None)  # `$model` and variants may give what the file does not
        definitions[kind] = {"anyOf": [settings, {"type": "null"}]}
        one = {
            "description": stage_summary(kind),
            "properties": {kind: {"$ref": f"#/$defs/{kind}"}},
            "required": [kind],
            "additionalProperties": False,
        }
        entries.append({"type": "object", **one})
    schema["properties"]["stages"]["items"] = {"oneOf": entries}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Tuningfork recipe"}


def _or_reference(schema: dict[str, Any]) -> dict[str, Any]:
    """A setting's schema, or `$model`, `$data`, `$seed`."""
    kept = {key: schema[key] for key in ("title", "description", "default") if key in schema}
    return {**kept, "anyOf": [schema, {"type": "string", "pattern": r"^\$(model|data|seed)(/.*)?$"}]}
