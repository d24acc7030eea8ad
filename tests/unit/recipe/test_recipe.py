"""Recipes: what is refused and how it is said, overrides, variants, references, defaults."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tuningfork.errors import RecipeError
from tuningfork.recipe import load_recipe, shipped_recipes
from tuningfork.references import DataReference, HubReference, PathReference, StageReference
from tuningfork.resolved import render_resolved, resolved_data, value_origin

HEAD_LINES = 5  # lines that `write_recipe` puts before the first stage


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ("- steps: {stesp: 3}", "6:11: steps.stesp: unknown key; did you mean steps?"),
        ("- steps:\n    inner: {rat: 1}", "7:13: steps.inner.rat: unknown key; did you mean rate?"),
        ("- steps: {steps: abc}", "6:11: steps.steps: must be a whole number, got 'abc'"),
        ('- steps: {steps: "3"}', "6:11: steps.steps: must be a whole number, got '3'"),
        ("- steps: {steps: 0}", "6:11: steps.steps: must be greater than or equal to 1, got 0"),
        ("- steps: {passes: yes}", "6:11: steps.passes: must be true or false, got 'yes'"),
        ("- steps: {inner: 3}", "6:11: steps.inner: must be a mapping, got 3"),
        ("- steps: {pause: }", "6:11: steps.pause: must be a number, got null"),
        ("- stesp: {}", "6:3: there is no stage 'stesp'; did you mean steps?"),
        ("- steps: {}\n- steps: {}", "7:3: two stages are called steps; give one of them an id of its own"),
        ("- {steps: {}, measure: {}}", "6:3: a stage is one key with its settings"),
        ("- steps: 3", "6:3: steps: the settings of a stage are a mapping, got 3"),
        ("- steps: {id: model}", "6:3: steps.id: 'model' cannot be the id of a stage"),
        ("- steps: {id: a/b}", "6:3: steps.id: 'a/b' cannot be the id of a stage"),
        ("- steps: {seed: x}", "6:11: steps.seed: must be a whole number from 0, got 'x'"),
        ("- steps: {data: nothing.txt}", "6:11: steps.data: nothing.txt does not exist: no stage before this one"),
        ("- steps: {data: b}\n- steps: {id: b}", "6:11: steps.data: b is not there yet: a stage reads"),
        ("- steps: {id: first}\n- steps: {data: frist/x.txt}", "7:11: steps.data: frist/x.txt is neither an"),
        ("- steps: {id: first}\n- steps: {model: frist}", "7:11: steps.model: frist is neither an"),
        ("- steps: {model: $model}", "6:11: $model: the recipe has no model; add `model: ...`"),
        ("- steps: {model: $modle}", "6:11: $modle: unknown reference; allowed: $model, $data, $seed"),
        ("- steps: {data: 5}", "6:11: steps.data: must be text, got 5"),
        ("- steps: {more: [steps]}", "6:18: steps.more.0: steps is not there yet"),
        ("- measure: {}", "6:3: measure.before: steps does not exist: no stage before this one"),
    ],
)  # fmt: skip
def test_wrong_stage_is_named_with_its_place(stages: str, expected: str, write_recipe) -> None:
    path = write_recipe(stages)
    assert message(path).startswith(f"{path}:{expected}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ": a recipe is a mapping with version, name and stages"),
        ("version: 2\nname: a\nstages: [{steps: {}}]", ":1:1: version: 2 is not allowed; allowed: 1"),
        ("version: 1\nnaem: a\nstages: [{steps: {}}]", ":2:1: naem: unknown key; did you mean name?"),
        ("version: 1\nname: a", ":1:1: stages: missing; add `stages: ...`"),
        ("version: 1\nname: a\nstages: []", ":3:1: stages: must have at least 1 item, got []"),
        ("version: 1\nname: a\nstages: {steps: {}}", ":3:1: stages: must be a list, got"),
        ("version: 1\nname: a b\nstages: [{steps: {}}]", ":2:1: name: must match pattern"),
        ("version: 1\nname: a\nseed: -1\nstages: [{steps: {}}]", ":3:1: seed: must be greater than or equal to 0"),
        ("version: 1\nname: a\nruntime: {devic: cpu}\nstages: [{steps: {}}]", ":3:11: runtime.devic: unknown"),
        ("version: 1\nname: a\nruntime: {device: cud}\nstages: [{steps: {}}]", ":3:11: runtime.device: 'cud' is"),
        ("version: 1\nname: a\nruntime: {threads: 0}\nstages: [{steps: {}}]", ":3:11: runtime.threads: "),
        ("version: 1\nname: a\nvariants: {other: {}}\nstages: [{steps: {}}]", ":3:12: variants.other: "),
    ],
)  # fmt: skip
def test_wrong_header_is_named_with_its_place(text: str, expected: str, tmp_path: Path, fake_stages: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    assert expected in message(path)


def test_every_fault_of_a_stage_is_told_at_once(write_recipe) -> None:
    lines = message(write_recipe("- steps:\n    stesp: 3\n    pause: x\n")).splitlines()
    assert [line.split(": ", 1)[1] for line in lines] == [
        "steps.pause: must be a number, got 'x'",
        "steps.stesp: unknown key; did you mean steps?",
    ]


@pytest.mark.parametrize("key", ["api_key", "HF_TOKEN", "password", "token", "openai_api_key"])
def test_secrets_are_refused(key: str, write_recipe) -> None:
    found = message(write_recipe(f"- steps: {{{key}: abc}}"))
    assert f"{key}: a recipe holds no secrets; give the name of an environment variable, as {key}_env" in found
    assert "abc" not in found


def test_values_that_look_like_tokens_are_refused_and_token_counts_are_not(write_recipe) -> None:
    assert "holds no secrets" in message(write_recipe("- steps: {fail: hf_abcdefghijklmnopqrstuv}"))
    assert "unknown key" in message(write_recipe("- steps: {max_new_tokens: 5, eos_token: a}"))


def test_overrides_are_typed_as_yaml_and_address_stages_by_id(write_recipe) -> None:
    path = write_recipe("- steps: {id: a}\n- steps: {id: b, more: [a, a]}")
    recipe = load_recipe(path, ["a.steps=7", "b.inner.rate=1e-4", "b.more.1=a/result.txt", "seed=4", "seeds=[1, 2]"])
    first, second = (stage.settings.model_dump() for stage in recipe.stages)
    assert first["steps"] == 7 and second["inner"]["rate"] == 1e-4 and second["more"] == ("a", "a/result.txt")
    assert recipe.header.seed == 4 and recipe.header.seeds == (1, 2)
    assert recipe.with_seed(2).header.seed == 2 and recipe.with_seed(2).stages[0].seed == 2


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("steps.stesp=1", "command line: steps.stesp: unknown key; did you mean steps?"),
        ("stesp.steps=1", "command line: stesp.steps: unknown key; did you mean steps?"),
        ("steps.inner.rate=2", "command line: steps.inner.rate: must be less than or equal to 1, got 2"),
        ("steps", "command line: 'steps' is not of the form key=value"),
        ("steps=3", "command line: steps: name a setting of the stage, such as steps.data"),
        ("steps.more.0=a", "command line: steps.more: must be a list"),
        ("steps.steps=[1", "command line:1:3: not valid YAML"),
        ("version=2", "command line: version: unknown key"),
        ("steps..steps=2", "command line: steps..steps: a dotted key has"),
    ],
)
def test_wrong_overrides_are_refused(override: str, expected: str, write_recipe) -> None:
    assert message(write_recipe("- steps: {}"), override).startswith(expected)


def test_part_of_a_component_keeps_the_rest_of_the_stages_default(write_recipe) -> None:
    recipe = load_recipe(write_recipe("- steps: {inner: {floor: 0.2}}"))
    assert recipe.stages[0].settings.model_dump()["inner"] == {"rate": 0.9, "floor": 0.2}
    assert value_origin(recipe, ("stages", 0, "steps", "inner", "rate")) == "default"


VARIANT = "model: {scratch: {layers: 2}}\nvariants: {pretrained: {steps.steps: 1, steps.inner.rate: 0.3, seed: 9}}"


def test_variant_holds_where_the_model_exists_and_overrides_win(write_recipe) -> None:
    path = write_recipe("- steps: {steps: 5}", head=VARIANT)
    assert load_recipe(path).stages[0].settings.model_dump()["steps"] == 5
    applied = load_recipe(path, ["model=gpt2", "steps.inner.rate=0.4"])
    settings = applied.stages[0].settings.model_dump()
    assert settings["steps"] == 1 and settings["inner"]["rate"] == 0.4 and applied.header.seed == 9
    assert value_origin(applied, ("stages", 0, "steps", "steps")) == "variant pretrained, small.yaml:5"
    unapplied = load_recipe(path, ["model=gpt2", "model={scratch: {layers: 1}}"])
    assert unapplied.stages[0].settings.model_dump()["steps"] == 5


def test_unknown_key_of_a_variant_is_an_error_even_where_it_is_not_applied(write_recipe) -> None:
    path = write_recipe("- steps: {}", head="variants: {pretrained: {steps.iner.rate: 1}}")
    assert message(path) == f"{path}:4:25: steps.iner.rate: unknown key; did you mean inner?"


def test_shared_values_reach_stages(write_recipe, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "rows.txt").write_text("x")
    path = write_recipe("- steps: {data: $data/rows.txt, model: $model, steps: $seed}", head="data: folder\nseed: 6")
    recipe = load_recipe(path, ["model=org/name"])
    stage = recipe.stages[0]
    assert stage.inputs["data"] == PathReference((tmp_path / "folder" / "rows.txt").resolve())
    assert stage.inputs["model"] == HubReference("org/name")
    assert stage.settings.model_dump()["steps"] == 6
    assert recipe.with_seed(8).stages[0].settings.model_dump()["steps"] == 8
    assert value_origin(recipe, ("stages", 0, "steps", "model")) == "command line"


def test_inputs_are_looked_for_as_stage_then_beside_the_recipe_then_here(
    write_recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for folder in (tmp_path, here):
        (folder / "both").write_text(folder.name)
        (folder / "a").write_text("hidden by the stage")
    (here / "near").write_text("x")
    path = write_recipe("- steps: {id: a}\n- steps: {id: b, data: a, more: [both, near, a/x]}")
    stage = load_recipe(path, ["b.model=both"]).stages[1]
    assert stage.inputs == {
        "data": StageReference("a"),
        "model": PathReference((here / "both").resolve()),
        "more.0": PathReference((tmp_path / "both").resolve()),
        "more.1": PathReference((here / "near").resolve()),
        "more.2": StageReference("a", "x"),
    }


def test_stage_reference_cannot_leave_its_folder(write_recipe) -> None:
    path = write_recipe("- steps: {id: a}\n- steps: {data: a/../../x}")
    assert "leaves the folder of stage a" in message(path)


def test_resolved_recipe_loads_as_the_same_recipe_and_keeps_its_origins(write_recipe, tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("x")
    path = write_recipe(
        "- steps: {id: a, seed: 3, data: rows.txt}\n- measure: {before: a}", head=VARIANT.replace("steps.", "a.")
    )
    recipe = load_recipe(path, ["model=gpt2", f"a.more=[{tmp_path / 'rows.txt'}]"])
    saved = tmp_path / "run" / "recipe.yaml"
    saved.parent.mkdir()
    saved.write_text(render_resolved(recipe))
    commented = [line.split("  # ") for line in saved.read_text().splitlines() if "  # " in line]
    lines = {value.strip(): comment for value, comment in commented}
    assert lines[f"data: {(tmp_path / 'rows.txt').resolve()}"] == "small.yaml:7"
    assert lines["rate: 0.3"] == "variant pretrained, small.yaml:5"
    assert lines["floor: 0.1"] == "default" and lines["seed: 3"] == "small.yaml:7"
    again = load_recipe(saved)
    assert resolved_data(again) == resolved_data(recipe)
    assert render_resolved(again).splitlines()[1:] == render_resolved(recipe).splitlines()[1:]


def test_unknown_recipe_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"there is no recipe 'snazy', neither shipped nor a .yaml file"):
        load_recipe("snazy")
    with pytest.raises(RecipeError, match=r"missing.yaml: cannot be read \(No such file"):
        load_recipe(tmp_path / "missing.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(RecipeError, match="not UTF-8"):
        load_recipe(tmp_path / "bytes.yaml")


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_are_valid_from_the_resolved_text_too(name: str, tmp_path: Path) -> None:
    text = shipped_recipes()[name].read_text()
    for file in re.findall(r"\$data/([\w./-]+)", text):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    overrides = ["data=" + str(tmp_path)] if "data" in text else []
    overrides += ["model=" + str(tmp_path)] if "model: null" in text else []
    recipe = load_recipe(name, overrides)
    saved = tmp_path / "recipe.yaml"
    saved.write_text(render_resolved(recipe))
    assert resolved_data(load_recipe(saved)) == resolved_data(recipe)
    assert json.dumps(resolved_data(recipe))


def test_file_with_code_is_looked_for_beside_the_recipe(write_recipe, tmp_path: Path) -> None:
    (tmp_path / "reward.py").write_text("def score(rows): return 1\n")
    recipe = load_recipe(write_recipe("- steps: {reward: 'reward.py:score'}"))
    assert recipe.stages[0].settings.model_dump()["reward"] == f"{(tmp_path / 'reward.py').resolve()}:score"
    assert "6:11: reward: nowhere.py does not exist" in message(write_recipe("- steps: {reward: 'nowhere.py:score'}"))


def test_data_that_no_file_holds_is_named_as_everywhere(write_recipe) -> None:
    (stage,) = load_recipe(write_recipe("- steps: {data: 'world:colours/sft', more: ['hf:org/rows:test']}")).stages
    assert stage.inputs["data"] == DataReference("world:colours/sft")
    assert stage.inputs["more.0"] == DataReference("hf:org/rows:test")


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ("world:colour/sft", "there is no world 'colour'; did you mean colours?"),
        ("world:colours", "name a file of the world, as in world:colours/sft"),
    ],
)
def test_a_world_that_is_not_there(write_recipe, value: str, cause: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(cause)):
        load_recipe(write_recipe(f"- steps: {{data: '{value}'}}"))
