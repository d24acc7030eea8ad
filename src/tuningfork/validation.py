"""Plain data into settings, and pydantic's findings into messages that name place, key, value and what is allowed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tuningfork.document import Document, Location
from tuningfork.errors import RecipeError
from tuningfork.kinds import suggestion

Model = TypeVar("Model", bound=BaseModel)

_TAIL = re.compile(r" after validation, not \d+$")
_TYPE_NAMES = {
    "int": "a whole number", "float": "a number", "bool": "true or false", "string": "text", "dict": "a mapping",
    "list": "a list", "tuple": "a list", "model": "a mapping", "model_attributes": "a mapping", "none_required": "null",
}  # fmt: skip


def validate(settings: type[Model], data: Any, document: Document, root: Location, name: str) -> Model:
    """`data`, which stands at `root` of `document`, as settings. `name` is what messages call it (`rl`).

    Types are strict: `"380"` is not a number; a list is good for a tuple and 1 for a number with a fraction. A mapping
    for a field whose default is a component is laid over that default: `optimizer: {floor: 0}` keeps the stage's rate.
    """
    data = _over_defaults(settings, data)
    try:
        return settings.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        findings = _nearest_arm(error.errors(include_url=False), data)
        wrong: dict[str, list[str]] = {}
        for finding, location in findings:
            origin = document.origin((*root, *location))
            dotted = ".".join(map(str, (*((name,) if name else ()), *location)))
            explanations = wrong.setdefault(f"{origin.place if origin else name}: {dotted or 'recipe'}", [])
            explanations.append(_explain(settings, finding, location, data))
        raise RecipeError("\n".join(f"{where}: {_either(what)}" for where, what in wrong.items())) from error


def _over_defaults(settings: type[BaseModel], data: Any) -> Any:
    if not isinstance(data, Mapping):
        return data
    filled = dict(data)
    for name, field in settings.model_fields.items():
        default, value = field.get_default(call_default_factory=True, validated_data={}), data.get(name)
        if isinstance(value, Mapping):
            if isinstance(default, BaseModel) and _fits(type(default), value, strictly=default):
                filled[name] = _over_defaults(
                    type(default), _overlay(default.model_dump(mode="json", exclude_unset=True), value)
                )
            elif len(models := models_at(field.annotation, (), value)) == 1:
                filled[name] = _over_defaults(models[0], value)
    return filled


def _overlay(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under) | dict(over)
    for key in under.keys() & over.keys():
        if isinstance(under[key], Mapping) and isinstance(over[key], Mapping):
            merged[key] = _overlay(under[key], over[key])
    return merged


def _nearest_arm(findings: Iterable[ErrorDetails], data: Any) -> list[tuple[ErrorDetails, Location]]:
    """Findings with their location in `data`; of a union only those of the member that came furthest."""
    located = []
    for finding in findings:
        adds_key = finding["type"] in ("missing", "extra_forbidden")
        location, tag_at = _in_data(finding["loc"], data, adds_key, finding.get("ctx", {}).get("discriminator", ""))
        located.append((finding, location, tag_at))
    kept = []
    for finding, location, tag_at in located:
        rivals = [other for other in located if tag_at is not None and other[2] == tag_at]
        deepest = max((len(rival[1]) for rival in rivals), default=len(location))
        if len(location) == deepest:
            kept.append((finding, location))
    return kept


def _in_data(
    loc: tuple[int | str, ...], data: Any, adds_key: bool, discriminator: str
) -> tuple[Location, Location | None]:
    """pydantic's location without the names of union members, and where the first of those stood."""
    location: Location = ()
    tag_at: Location | None = None
    here = data
    for index, step in enumerate(loc):
        if _holds(here, step):
            here, location = here[step], (*location, step)
        elif index == len(loc) - 1 and adds_key:
            location = (*location, step)
        elif tag_at is None:
            tag_at = location
    if discriminator and isinstance(here, Mapping):
        location = (*location, discriminator.strip("'"))
    return location, tag_at


def _either(explanations: list[str]) -> str:
    """One message for all members of a union that a value could have been."""
    first, *others = dict.fromkeys(explanations)
    middle = [other.removeprefix("must be ").partition(", got ")[0] for other in others]
    start, got, value = first.partition(", got ")
    return " or ".join([start, *middle]) + got + value


def _explain(settings: type[BaseModel], finding: ErrorDetails, location: Location, data: Any) -> str:
    kind, context, value = finding["type"], finding.get("ctx", {}), finding["input"]
    if kind == "extra_forbidden":
        known = {name for model in models_at(settings, location[:-1], data) for name in model.model_fields}
        return f"unknown key; {suggestion(str(location[-1]), known)}"
    if kind == "missing":
        return f"missing; add `{location[-1]}: ...`"
    if kind in ("union_tag_invalid", "literal_error"):
        tags = context.get("expected_tags") or context.get("expected", "")
        allowed = [tag.strip().strip("'") for tag in str(tags).replace(" or ", ", ").split(",")]
        given = context.get("tag", value)
        return f"{given!r} is not allowed; {suggestion(str(given), allowed)}" + _all_of(str(given), allowed)
    if kind == "union_tag_not_found":
        kinds = ", ".join(model.__name__ for model in models_at(settings, location[:-1], data))
        return f"missing; it says which of {kinds} is meant"
    if kind == "value_error":
        return str(context.get("error", finding["msg"]))
    stem = kind.removesuffix("_type").removesuffix("_parsing")
    if kind.endswith(("_type", "none_required")) and stem in _TYPE_NAMES:
        return f"must be {_TYPE_NAMES[stem]}, got {shorten(value)}"
    start, should, rest = finding["msg"].partition(" should ")
    rule = f"must {_TAIL.sub('', rest)}" if should else start
    return f"{rule}, got {shorten(value)}"


def _all_of(given: str, allowed: list[str]) -> str:
    return f" (allowed: {', '.join(sorted(allowed))})" if suggestion(given, allowed).startswith("did") else ""


def models_at(annotation: Any, location: Location, data: Any) -> list[type[BaseModel]]:
    """The settings classes that the value at `location` below `annotation` may be of, given the data there."""
    models = [model for model in _models(annotation) if _fits(model, data)]
    if not location:
        return models
    step, rest = location[0], location[1:]
    inner = data[step] if _holds(data, step) else None
    below = [model.model_fields[step].annotation for model in models if step in model.model_fields]
    return [found for field in below for found in models_at(field, rest, inner)] or [
        found for element in _elements(annotation) for found in models_at(element, rest, inner)
    ]


def _holds(data: Any, step: str | int) -> bool:
    return (isinstance(data, Mapping) and step in data) or (
        isinstance(data, list) and isinstance(step, int) and step < len(data)
    )


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (list, tuple, dict, Literal):
        return []
    arms = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    return [model for arm in arms for model in _models(arm)]


def _elements(annotation: Any) -> list[Any]:
    if get_origin(annotation) in (list, tuple, dict):
        return [get_args(annotation)[-1 if get_origin(annotation) is dict else 0]]
    return [element for arm in get_args(annotation) for element in _elements(arm)]


def _fits(model: type[BaseModel], data: Any, strictly: BaseModel | None = None) -> bool:
    """False where a discriminator of the model is one text and the data say another.

    With `strictly` (a default), also False where the data have a key the model does not know: they mean another class.
    """
    if not isinstance(data, Mapping):
        return True
    if strictly is not None and not set(data) <= set(model.model_fields):
        return False
    literals = {
        name: get_args(field.annotation)
        for name, field in model.model_fields.items()
        if get_origin(field.annotation) is Literal
    }
    return all(
        data.get(name, values[0]) in values for name, values in literals.items() if name in ("kind", "name", "type")
    )


def shorten(value: Any, length: int = 60) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= length else text[: length - 1] + "…"
