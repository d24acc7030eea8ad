"""Keys: what changes them, what does not, and that the source they cover is all that a stage imports."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tuningfork import sources
from tuningfork.errors import DataError, RecipeError
from tuningfork.keys import PathHashes, code_file, data_key, hub_key, stage_key
from tuningfork.kinds import stage_module
from tuningfork.recipe import load_recipe

INPUTS = {"data": "content of the rows"}


def key(path: Path, *overrides: str, code: str = "c", device: str = "cpu", precision: str = "fp32") -> str:
    stage = load_recipe(path, overrides).stages[-1]
    return stage_key(stage, INPUTS, code, device, precision)


def test_settings_seed_code_device_and_inputs_change_a_key_and_names_and_paths_do_not(
    write_recipe, tmp_path: Path
) -> None:
    (tmp_path / "rows.txt").write_text("x")
    (tmp_path / "moved.txt").write_text("x")
    path = write_recipe("- steps: {id: a, data: rows.txt}")
    same = key(path)
    assert key(path, "name=other", "description=words", "a.data=" + str(tmp_path / "moved.txt")) == same
    assert key(write_recipe("- steps: {id: first}\n- steps: {id: b, data: first}", name="longer")) == same
    others = [
        key(path, "a.steps=4"), key(path, "a.inner.floor=0.2"), key(path, "seed=1"), key(path, "a.seed=2"),
        key(path, code="d"), key(path, device="cuda"), key(path, precision="bf16"),
    ]  # fmt: skip
    stage = load_recipe(path).stages[0]
    others.append(stage_key(stage, {"data": "other rows"}, "c", "cpu", "fp32"))
    assert len({same, *others}) == len(others) + 1


def test_source_of_a_named_function_is_in_the_key(write_recipe, tmp_path: Path) -> None:
    reward = tmp_path / "reward.py"
    reward.write_text("def score(rows): return 1\n")
    path = write_recipe(f"- steps: {{reward: '{reward}:score'}}")
    before = stage_key(load_recipe(path).stages[0], {}, "c", "cpu", "fp32")
    reward.write_text("def score(rows): return 2\n")
    assert stage_key(load_recipe(path).stages[0], {}, "c", "cpu", "fp32") != before


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("reward", "is not of the form"),
        ("nowhere.py:score", "nowhere.py does not exist"),
        ("no.such.module:score", "there is no Python module 'no.such.module'"),
        ("reward.py:not a name", "is not of the form"),
    ],
)
def test_code_that_is_not_there(reference: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        code_file(reference)


def test_code_of_a_module_is_its_file() -> None:
    assert code_file("tuningfork.kinds:stage_kinds") == Path(sources.__file__).parent / "kinds.py"


def test_source_covers_indirect_lazy_and_by_name_imports_and_data_files() -> None:
    seen: set[str] = set()
    pending = [Path(str(stage_module("rl").__file__))]
    while pending:
        file = pending.pop()
        if str(file) not in seen:
            seen.add(str(file))
            pending.extend(sources._imports(file))
    names = {str(Path(name).relative_to(Path(sources.__file__).parent)) for name in seen}
    lazily, indirectly, by_name = "train/loop.py", "train/checkpoint.py", "methods/policy/ppo.py"
    assert {lazily, indirectly, by_name} <= names
    assert not {"cli.py", "recipe.py", "pipeline.py", "supervisor.py", "__init__.py"} & names


def test_world_depends_on_its_data_files(tmp_path: Path) -> None:
    folder = Path(sources.__file__).parent / "worlds" / "colours"
    found = {path.name for path in sources._data_files(folder)}
    assert {"objects.yaml", "snazzy.yaml"} <= found and not any(name.endswith((".py", ".pyc")) for name in found)


def test_comments_docstrings_and_layout_do_not_count(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        path = tmp_path / f"stage{len(list(tmp_path.iterdir()))}" / "stage.py"
        path.parent.mkdir()
        path.write_text(text)
        return sources.source_hash(path)

    first = digest('"""Doc."""\nx = 1\nclass A:\n    y: int = 2\n    """about y"""\n')
    assert digest('# comment\nx = 1\n\n\nclass A:\n    """More."""\n\n    y: int = (2)\n') == first
    assert digest("x = 2\nclass A:\n    y: int = 2\n") != first


def test_path_key_is_of_content_and_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("one")
    hashes = PathHashes(tmp_path / "hashes.json")
    first = hashes.key(path)
    hashes.save()
    again = PathHashes(tmp_path / "hashes.json")
    assert again.key(path) == first
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    assert again.key(path) != first


def test_folder_key_is_of_names_and_contents_without_hidden_files(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a").write_text("a")
    hashes = PathHashes(tmp_path / "hashes.json")
    first = hashes.key(folder)
    (folder / ".cache").write_text("x")
    assert hashes.key(folder) == first
    (folder / "sub" / "a").rename(folder / "sub" / "b")
    assert hashes.key(folder) != first


def test_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.txt").write_text("x")

    def refuse(self: Path, *arguments: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"rows.txt: cannot be read \(Permission denied\)"):
        PathHashes(tmp_path / "hashes.json").key(tmp_path / "rows.txt")


def test_hub_key_has_the_commit_where_the_cache_knows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert hub_key("org/name") == "hub:org/name@unknown"
    reference = tmp_path / "models--org--name" / "refs" / "main"
    reference.parent.mkdir(parents=True)
    reference.write_text("abc\n")
    assert hub_key("org/name") == "hub:org/name@abc"


def test_the_key_of_a_data_set_of_the_hub_holds_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert (
        data_key("hf:org/rows:test") == "hf:org/rows:test@unknown"
        and data_key("world:colours/sft") == "world:colours/sft"
    )
    refs = tmp_path / "datasets--org--rows" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("abc\n")
    assert data_key("hf:org/rows:test") == "hf:org/rows:test@abc"


def test_a_stage_is_keyed_by_every_kind_of_reward_and_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are found by name, so no import says that the stage may run them."""
    hashed: set[str] = set()
    monkeypatch.setattr(sources, "_hash_of", lambda file: hashed.add(f"{file.parent.name}/{file.name}") or "")
    for kind in ("rl", "judge"):
        sources.source_hash(Path(str(stage_module(kind).__file__)))
    assert {"kinds/learned.py", "kinds/lexicon.py", "kinds/model.py", "kinds/gold.py"} <= hashed
