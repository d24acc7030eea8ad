"""YAML as data plus the place of every value, so that an error can say FILE:LINE:COLUMN.

Scalars follow YAML 1.2's core schema: `1e-4` is a number, `on`, `off`, `yes` and `no` are text, dates are text.
Keys are text as written. Duplicate keys are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tuningfork.errors import RecipeError

Location = tuple[str | int, ...]
"""Keys and list positions from the root of a document to a value."""

_DEEPEST, _LARGEST = 40, 100_000  # an alias inside what it names never ends
_LITERALS = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    text: text.lower() == "true" for text in ("true", "True", "TRUE", "false", "False", "FALSE")
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_NAN = re.compile(r"\.(nan|NaN|NAN)")


@dataclass(frozen=True)
class Origin:
    """Where a value was written: a place of a file, the command line, or a variant of the recipe."""

    source: str
    line: int | None = None
    column: int | None = None
    base: Path | None = None
    """folder that relative paths in the value start from; empty for the current directory"""
    label: str = ""
    """what brought the value in, where that is not the place itself: `variant pretrained`"""

    @property
    def place(self) -> str:
        """`FILE:LINE:COLUMN`, as in error messages."""
        return self.source if self.line is None else f"{self.source}:{self.line}:{self.column}"

    @property
    def short(self) -> str:
        """`snazzy.yaml:12`, as in the comments of a resolved recipe."""
        place = self.source if self.line is None else f"{Path(self.source).name}:{self.line}"
        return f"{self.label}, {place}" if self.label else place


@dataclass
class Document:
    """Plain data and the origin of each of its values; a mapping entry's origin is that of its key."""

    data: Any
    origins: dict[Location, Origin] = field(default_factory=dict)

    def origin(self, location: Location) -> Origin | None:
        """Origin of the value at `location`, or of the nearest value around it."""
        for length in range(len(location), -1, -1):
            if location[:length] in self.origins:
                return self.origins[location[:length]]
        return None

    def put(self, location: Location, value: Any, origin: Origin) -> None:
        """Set one value; mappings on the way are made, list positions must exist."""
        here: Any = self.data
        done: Location = ()
        for given in location[:-1]:
            step: Any = _step(here, given, origin)
            done = (*done, step)
            if not isinstance(here[step] if isinstance(here, list) else here.get(step), dict | list):
                here[step] = {}
                self.origins[done] = origin
            here = here[step]
        last: Any = _step(here, location[-1], origin)
        here[last] = value
        done = (*done, last)
        for old in [known for known in self.origins if known[: len(done)] == done]:
            del self.origins[old]
        for below, _ in walk(value):
            self.origins[done + below] = origin


def _step(here: Any, step: str | int, origin: Origin) -> str | int:
    """A step as this container counts: a position that a list has, text for a mapping."""
    if not isinstance(here, list):
        return str(step)
    if not (isinstance(step, int) and step < len(here)):
        raise RecipeError(f"{origin.place}: {step} is not a position in a list of {len(here)}")
    return step


def put_at(data: Any, location: Location, value: Any) -> None:
    """Replace a value of plain data that is there."""
    for step in location[:-1]:
        data = data[step]
    data[location[-1]] = value


def walk(data: Any, location: Location = ()) -> Iterator[tuple[Location, Any]]:
    """Every value of plain data with its location, containers before what they hold."""
    yield location, data
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from walk(value, (*location, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from walk(value, (*location, index))


def parse(text: str, source: str, base: Path | None = None) -> Document:
    """Parse one YAML document; RecipeError with the place of a syntax error or a duplicate key."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        raise RecipeError(f"{place}: not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{source}: not valid YAML: {str(error).splitlines()[0]}") from error
    document = Document(None)
    document.data = None if root is None else _construct(root, (), document.origins, source, base)
    return document


def parse_value(text: str) -> Any:
    """A value as given on the command line, read as YAML; RecipeError when it is not."""
    return parse(text, "command line").data


def _construct(
    node: yaml.Node, location: Location, origins: dict[Location, Origin], source: str, base: Path | None
) -> Any:
    def origin_of(marked: yaml.Node) -> Origin:
        return Origin(source, marked.start_mark.line + 1, marked.start_mark.column + 1, base)

    origins.setdefault(location, origin_of(node))
    if len(location) > _DEEPEST or len(origins) > _LARGEST:
        raise RecipeError(f"{origin_of(node).place}: nested too deeply, or too many values")
    if not node.tag.startswith("tag:yaml.org,2002:") or ":python/" in node.tag:
        raise RecipeError(f"{origin_of(node).place}: the tag {node.tag} is not allowed: a recipe is plain data")
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            place = origin_of(key_node).place
            if key is None:
                raise RecipeError(f"{place}: a key must be plain text")
            if key in mapping:
                raise RecipeError(f"{place}: duplicate key {key}; it is also at line {origins[(*location, key)].line}")
            origins[(*location, key)] = origin_of(key_node)
            mapping[key] = _construct(value_node, (*location, key), origins, source, base)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*location, i), origins, source, base) for i, item in enumerate(node.value)]
    is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
    return _scalar(node.value) if is_plain else node.value


def _scalar(text: str) -> Any:
    if text in _LITERALS:
        return _LITERALS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if match := _INFINITE.fullmatch(text):
        return float(match[1] + "inf")
    return float("nan") if _NAN.fullmatch(text) else text


def render_scalar(value: Any) -> str:
    """A scalar or flow collection as YAML text that `parse` reads back as the same value."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{render_scalar(str(k))}: {render_scalar(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(render_scalar, value)) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(str(value), str(value))
    if isinstance(value, int):
        return str(value)
    return _quote(str(value))


def _quote(text: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_./$][A-Za-z0-9_./$@+-]*( [A-Za-z0-9_./$@+()-]+)*", text)
    if plain and text not in _LITERALS and not any(kind.fullmatch(text) for kind in (_FLOAT, _INFINITE, _NAN)):
        return text
    return '"' + "".join(_escape(character) for character in text) + '"'


def _escape(character: str) -> str:
    simple = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    if character in simple:
        return simple[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
