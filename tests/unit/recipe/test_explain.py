"""`explain` and the JSON schema come from the classes that check recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuningfork.errors import RecipeError
from tuningfork.explain import explain, recipe_schema
from tuningfork.kinds import stage_kinds, stage_settings
from tuningfork.recipe import load_recipe


def test_setting_has_type_limits_default_and_meaning(fake_stages: Path) -> None:
    text = explain("steps.inner.rate")
    for part in ("how fast", "number", "above 0", "at most 1", "default: 0.5"):
        assert part in text


def test_component_lists_its_settings_and_the_stages_default(fake_stages: Path) -> None:
    text = explain("steps.inner")
    assert "default: Inner {rate: 0.9}" in text and "rate, floor" in text


def test_kind_lists_all_its_settings(fake_stages: Path) -> None:
    text = explain("steps")
    assert text.startswith("steps: A stage that counts")
    assert all(f"  {name} " in text for name in stage_settings("steps").model_fields)


def test_recipe_gives_value_and_origin(write_recipe) -> None:
    recipe = load_recipe(write_recipe("- steps: {id: a, steps: 5}"), ["a.pause=0.5"])
    assert "value: 5  (small.yaml:6)" in explain("a.steps", recipe)
    assert "value: 0.5  (command line)" in explain("a.pause", recipe)
    assert "value: 0.9  (default)" in explain("a.inner.rate", recipe)
    assert "value: cpu  (small.yaml:3)" in explain("runtime.device", recipe)


@pytest.mark.parametrize(("key", "hint"), [("stesp", "steps"), ("steps.pasue", "pause"), ("runtime.devic", "device")])
def test_unknown_key_has_a_suggestion(key: str, hint: str, fake_stages: Path) -> None:
    with pytest.raises(RecipeError, match=f"did you mean {hint}"):
        explain(key)


def test_every_setting_of_every_kind_has_a_description() -> None:
    fields = {
        f"{kind}.{name}": field for kind in stage_kinds() for name, field in stage_settings(kind).model_fields.items()
    }
    bare = [name for name, field in fields.items() if not field.description]
    assert bare == []


def test_schema_knows_every_kind_and_its_settings(fake_stages: Path) -> None:
    schema = recipe_schema()
    entries = schema["properties"]["stages"]["items"]["oneOf"]
    assert [next(iter(entry["properties"])) for entry in entries] == stage_kinds()
    steps = schema["$defs"]["steps"]["anyOf"][0]
    assert {"id", "seed", *stage_settings("steps").model_fields} == set(steps["properties"])
    assert steps["additionalProperties"] is False
    assert {"pattern": r"^\$(model|data|seed)(/.*)?$", "type": "string"} in steps["properties"]["model"]["anyOf"]
    references = set(_references(schema))
    assert references and all(reference.removeprefix("#/$defs/") in schema["$defs"] for reference in references)


def _references(schema: object) -> list[str]:
    if isinstance(schema, dict):
        own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
        return own + [found for value in schema.values() for found in _references(value)]
    return [found for item in schema for found in _references(item)] if isinstance(schema, list) else []
