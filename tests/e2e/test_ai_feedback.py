"""The chains of `constitution-local` and `rbrm-local`, small: they gain by judging text that is right, not by chance's.

Null checks. The preferences alone: labels drawn by chance, measured from the revised model, since the revisions before them
learn from no label. Both chains whole: a world whose judging text chance wrote, so that critiques, revisions, comparisons and classes
say nothing. The prompts are those of training.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ai_feedback")]

HERE = Path(__file__).parent
NULL_OF_PREFERENCES = ("shuffled", "preferences", "chance")
"""Stages that a world of chance needs not: there all labels are chance's."""


def run_chains(folder: Path, spec: Path, leave_out: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """Run the recipe on a world; what the gold judge says of right behaviour, by the id of the evaluation, and the agreements."""
    recipe = yaml.safe_load((HERE / "tiny-constitution.yaml").read_text(encoding="utf-8"))
    recipe["stages"][0]["world"]["spec_file"] = str(spec)
    settings = [next(iter(stage.values())) for stage in recipe["stages"]]
    pairs = zip(recipe["stages"], settings, strict=True)
    recipe["stages"] = [stage for stage, own in pairs if own.get("id") not in leave_out]
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "tuningfork.cli",
        "run",
        str(path),
        "second_read=true",
        "--out",
        str(folder / "run"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TUNINGFORK_CACHE": str(folder / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = {}
    for file in (folder / "run").glob("*/summary.json"):
        headline = json.loads(file.read_text(encoding="utf-8"))["measures"][0]
        assert headline["name"] == "good_share"
        found[file.parent.name.partition("-")[2]] = headline
    for stage, name in (("judge", "check_agreement"), ("rubric", "agreement")):
        (file,) = (folder / "run").glob(f"*-{stage}/manifest.json")
        found[stage] = json.loads(file.read_text(encoding="utf-8"))["figures"][name]
    return found


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_chains(tmp_path_factory.mktemp("right"), HERE / "tiny-manners.yaml")


@pytest.fixture(scope="module")
def by_chance(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("chance")
    spec = {"extends": str(HERE / "tiny-manners.yaml"), "judging_by_chance": True}
    (folder / "world.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    return run_chains(folder, folder / "world.yaml", NULL_OF_PREFERENCES)


def test_both_chains_gain_with_judging_text_that_is_right(right: dict[str, Any]) -> None:
    assert right["judge"] > 0.6 and right["rubric"] > 0.6, "what the recipes ask for at least"
    for name in ("chain", "preferences", "rules"):
        low, _ = right[name]["ci95"]
        assert low > 0, f"{name}: {right[name]}"


def test_preferences_with_shuffled_labels_gain_nothing(right: dict[str, Any]) -> None:
    low, _ = right["chance"]["ci95"]
    assert low <= 0, right["chance"]
    assert right["chance"]["before"] == right["preferences"]["before"], "both start from the revised model"


def test_a_constitution_gains_nothing_where_chance_wrote_the_judging_text(by_chance: dict[str, Any]) -> None:
    low, _ = by_chance["chain"]["ci95"]
    assert low <= 0, by_chance["chain"]
    assert by_chance["judge"] < 0.6, "the recipe's gate would have stopped it before any preference"


def test_a_rubric_whose_classes_are_chance_is_refused_and_gains_far_less(
    right: dict[str, Any], by_chance: dict[str, Any]
) -> None:
    """Not nothing: a classifier that learnt from noise still tells answers apart in some way, and that way may happen to help."""
    assert by_chance["rubric"] < 0.6, "the recipe's gate would have stopped it before any RL"
    _, high = by_chance["rules"]["ci95"]
    low, _ = right["rules"]["ci95"]
    assert high < low, (by_chance["rules"], right["rules"])
