"""YAML with places: scalars of YAML 1.2, places of values, duplicates, what is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.document import Document, Origin, parse, render_scalar
from tuningfork.errors import RecipeError

HERE = Origin("here")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("5E3", 5000.0), (".5", 0.5), ("-3.", -3.0), ("017", 17), ("0x1f", 31), ("0o17", 15), ("+2", 2),
        ("on", "on"), ("off", "off"), ("yes", "yes"), ("No", "No"), ("y", "y"), ("true", True), ("FALSE", False),
        ("null", None), ("~", None), ("", None), ("2024-01-02", "2024-01-02"), ("1:30", "1:30"), ("1_000", "1_000"),
        ("'1e-4'", "1e-4"), ('"true"', "true"), (".inf", math.inf), ("-.inf", -math.inf), ("1.2.3", "1.2.3"),
    ],
)  # fmt: skip
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    found = parse(f"key: {text}", "f").data["key"]
    assert found == value and type(found) is type(value)


def test_keys_are_text_and_places_are_those_of_keys() -> None:
    document = parse("a: 1\non:\n  - x\n  - {b: 2}\n", "f.yaml")
    assert document.data == {"a": 1, "on": ["x", {"b": 2}]}
    assert document.origins[("on",)].place == "f.yaml:2:1"
    assert document.origins[("on", 0)].place == "f.yaml:3:5"
    assert document.origins[("on", 1, "b")].place == "f.yaml:4:6"
    assert document.origin(("on", 1, "b", "deeper", 3)) == document.origins[("on", 1, "b")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f:3:1: duplicate key a; it is also at line 1"),
        ("a: [1, 2\nb: 3\n", "f:2:2: not valid YAML: expected ',' or ']'"),
        ("a: 'x\n", "f:2:1: not valid YAML: found unexpected end of stream"),
        ("? [1]\n: 2\n", "f:1:3: a key must be plain text"),
        ("a: !!python/object:os.system x\n", "f:1:4: the tag"),
        ("a: &loop [*loop]\n", "f:1:4: nested too deeply"),
        ("a: \x07\n", "f: not valid YAML: unacceptable character"),
    ],
)
def test_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(text, "f")
    assert str(caught.value).startswith(message)


def test_put_makes_the_way_and_replaces_old_origins() -> None:
    document = parse("a: {b: {c: 1, d: 2}}\nl: [1, 2]", "f")
    document.put(("a", "b"), {"e": 3}, HERE)
    document.put(("a", "x", "y"), 4, HERE)
    document.put(("l", 1), 5, HERE)
    assert document.data == {"a": {"b": {"e": 3}, "x": {"y": 4}}, "l": [1, 5]}
    assert ("a", "b", "c") not in document.origins and document.origins[("a", "b", "e")] == HERE
    with pytest.raises(RecipeError, match="here: 2 is not a position in a list of 2"):
        document.put(("l", 2), 0, HERE)
    with pytest.raises(RecipeError, match="here: x is not a position"):
        document.put(("l", "x", "y"), 0, HERE)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_rendered_values_are_read_back(value: object) -> None:
    assert parse(f"key: {render_scalar(value)}", "f").data == {"key": value}
    assert parse(f"- {render_scalar(value)}  # a comment", "f").data == [value]


def test_empty_document_is_none() -> None:
    assert parse("# nothing\n", "f") == Document(None)
