"""The base of every component's settings: frozen, strict, and able to name the artifacts it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo


class Settings(BaseModel):
    """Settings of one component. Unknown keys are errors; values never change after construction."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)


@dataclass(frozen=True)
class InputMarker:
    """Marks a field whose value names something a stage reads; see `Input`."""


Input = Annotated[str, InputMarker()]
"""What a stage reads: an earlier stage (`sft`), a file of its artifact (`world/sft.jsonl`), a path, or a hub id."""


class ReadOnceMarker(InputMarker):
    """Marks an input that may be read with one choice of settings only; see `ReadOnceInput`."""


ReadOnceInput = Annotated[str, ReadOnceMarker()]
"""An input that says how good a run is: read once. A second read with other settings is refused unless asked for."""


@dataclass(frozen=True)
class CodeMarker:
    """Marks a field whose value makes the run execute code that is not Tuningfork's; see `Code`, `RemoteCode`."""

    what: str = "Python code"


Code = Annotated[str, CodeMarker()]
"""Python the run calls: `module:function` or `file.py:function`. A recipe with one runs after `--trust`."""

RemoteCode = Annotated[bool, CodeMarker("remote code of the model")]
"""Whether code that came with a model may run. A recipe where it is true runs after `--trust`."""


@dataclass(frozen=True)
class HostMarker:
    """Marks a field that names a host the run talks to; see `Host`."""


Host = Annotated[str, HostMarker()]
"""An address that a run sends data to, and maybe a key named beside it. A recipe with one runs after `--trust`."""


def input_fields(settings: BaseModel) -> dict[str, str]:
    """The inputs that `settings` name: dotted field name -> value, nested settings included, empty ones left out."""
    return {".".join(map(str, location)): value for location, value in marked_values(settings, InputMarker)}


def read_once_inputs(settings: BaseModel) -> list[str]:
    """Dotted names of the inputs that may be read with one choice of settings only."""
    return [".".join(map(str, location)) for location, _ in marked_values(settings, ReadOnceMarker)]


def marked_values(settings: BaseModel, marker: type) -> list[tuple[tuple[str | int, ...], Any]]:
    """(location, value) of every value below `settings` whose type carries a `marker`; empty ones are left out."""
    return [
        found
        for name, field in type(settings).model_fields.items()
        for found in _marked(getattr(settings, name), _annotation(field), (name,), marker)
    ]


def _marked(value: Any, annotation: Any, location: tuple[str | int, ...], marker: type) -> list[Any]:
    if isinstance(value, BaseModel):
        return [((*location, *inner), item) for inner, item in marked_values(value, marker)]
    arms = [inner for arm in _arms(annotation) for inner in (arm, *_arms(_bare(arm)))]
    if isinstance(value, Mapping | list | tuple):
        collection = next((_bare(arm) for arm in arms if get_origin(_bare(arm)) in (dict, list, tuple)), Any)
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        element = get_args(collection)[1 if isinstance(value, Mapping) else 0] if get_args(collection) else Any
        return [found for key, item in items for found in _marked(item, element, (*location, key), marker)]
    is_marked = any(
        isinstance(item, marker) and isinstance(value, get_args(arm)[0])
        for arm in arms
        if get_origin(arm) is Annotated and isinstance(_bare(arm), type)
        for item in get_args(arm)[1:]
    )
    return [(location, value)] if is_marked else []


def _annotation(field: FieldInfo) -> Any:
    """The type of a field with its markers, which pydantic keeps apart."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _arms(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; the annotation itself where it is none."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
