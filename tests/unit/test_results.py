"""Pages of docs/results: one file a result, found by its name, made from a run's folder."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from layout.markdown import cell, samples, share
from layout.run import Run, figures, stage_folder
from results import load, names
from tuningfork.artifacts.manifest import Manifest, ManifestGate, write_manifest
from tuningfork.evals.statistics import Comparison
from tuningfork.evals.summary import Summary, measure, write_summary
from tuningfork.recipe import shipped_recipes

SHARE = Comparison(0.1, 0.9, 0.8, (0.7, 0.9), 0.0002, 40, 10, 2.0, 0.1)


@pytest.mark.parametrize("name", names())
def test_every_result_names_a_recipe_that_is_shipped(name: str) -> None:
    module = load(name)
    assert module.RECIPE in shipped_recipes()
    assert all("=" in one for one in module.OVERRIDES)
    assert callable(module.page)


def test_a_page_is_found_by_its_file_name() -> None:
    assert "snazzy-wide" in names()
    assert load("snazzy-wide") is importlib.import_module("pages.snazzy_wide")


def test_a_page_of_a_comparison(tmp_path: Path) -> None:
    run = _run(tmp_path, {"1-pretrain": {"bits_per_byte": 0.5}, "2-rl": {}, "3-evaluate": {}})
    _write(tmp_path / "2-rl" / "metrics.jsonl", [{"step": step, "score_mean": 0.1 * step} for step in (1, 2, 3)])
    answers = [{"prompt": f"question {n}?", "before": "red|", "after": "_ruby_"} for n in range(30)]
    _write(tmp_path / "3-evaluate" / "samples.jsonl", answers)
    found = measure("gem_share", SHARE, role="headline", direction="higher", seed=0)
    write_summary(Summary(verdict_text="Better: it rose.", measures=[found], seeds=[0]), tmp_path / "summary.json")
    text = load("snazzy").page(run)
    assert "Better: it rose." in text
    assert "| gem share | 0.100 | 0.900 | +0.800 [+0.700, +0.900] | 0.0002 | 40 | 0.900 |" in text
    assert text.count("\n| question ") == 20, "twenty samples, drawn at random"
    assert r"red\|" in text and r"\_ruby\_" in text
    assert (tmp_path / "docs" / "snazzy-score-mean.svg").read_text(encoding="utf-8").startswith("<svg xmlns")


def test_the_page_of_an_imitation_over_two_seeds(tmp_path: Path) -> None:
    for number, after in ((0, 0.8), (1, 0.6)):
        change = {"before": 0.2, "after": after, "difference": after - 0.2, "ci95": [after - 0.3, after - 0.1]}
        gap = {"before": after, "after": 1.0, "difference": 1 - after, "ci95": None}
        finding = {"name": "probe", "side": "inside", "change": change | {"num_roots": 9}, "gap": gap, "lead": change}
        folder = tmp_path / f"seed-{number}"
        _run(folder, {"1-imitation": {}}, gate=ManifestGate(name="teacher", passed=True, message="is better"))
        verdict = {"verdict": "style and facts", "findings": [finding]}
        (folder / "1-imitation" / "imitation.json").write_text(json.dumps(verdict), encoding="utf-8")
        answer = {"prompt": "q?", "before": "x", "after": "it is red.", "teacher": "it is blue."}
        _write(folder / "1-imitation" / "samples.jsonl", [answer | {"side": side} for side in ("inside", "outside")])
    text = load("imitation").page(Run("imitation", tmp_path, "tuningfork run imitation", tmp_path))
    row = "| probe, inside | 0.200 | 0.700 | 1.000 | +0.500 [+0.400, +0.600] | +0.300 | 9 | +0.600, +0.400 |"
    assert row in text, "means over seeds; the interval has the mean of their ends, and is missing where one is"
    assert "- imitation (seed 1) teacher: is better" in text


def test_the_page_of_a_fine_tuning(tmp_path: Path) -> None:
    tuned = {"stop_rate": 0.5, "stop_answers": 100, "heldout_loss_before": 6.0, "heldout_loss": 4.0}
    tuned |= {"heldout_loss_ci95": [3.9, 4.1], "heldout_change_ci95": [-2.1, -1.9], "heldout_token_accuracy": 0.3}
    run = _run(tmp_path, {"1-pretrain": {"bits_per_byte": 1.5}, "2-sft": tuned})
    _write(tmp_path / "2-sft" / "metrics.jsonl", [{"step": step, "heldout/loss": 5 - step} for step in (1, 2, 3)])
    probed = {"purpose": "stop probe", "prompt": "q?", "response": "no | yes", "ended": True}
    _write(tmp_path / "2-sft" / "samples.jsonl", [{"step": 1, "prompt": "x", "response": "y", "ended": True}, probed])
    text = load("instruct-local").page(run)
    assert "| answers that end by themselves | 0 | 0.500 [0.404, 0.596], n 100 |" in text
    assert "| the same after it | 0 | 4.000 [3.900, 4.100] |" in text
    assert "| change, over answers | 0 | -2.000 [-2.100, -1.900] |" in text
    assert "1 of 1, drawn at random" in text and "| q? | no \\| yes | True |" in text


def test_the_page_of_curated_or_random(tmp_path: Path) -> None:
    trained = {"demonstrations": 1000, "supervised_share": 0.9, "heldout_loss": 4.0, "best_step": 100}
    run = _run(tmp_path, {"1-sft-curated": trained, "2-sft-random": trained, "3-likelihood": {}})
    compared = {"before": 0.9, "after": 0.8, "difference": -0.1, "ci95": [-0.12, -0.08], "p": 0.001, "n": 50}
    found = {"better": "second", "judge": "preferred", "answers": {"preferred": compared | {"num_roots": 40}}}
    (tmp_path / "3-likelihood" / "likelihood.json").write_text(json.dumps(found), encoding="utf-8")
    for stage in ("1-sft-curated", "2-sft-random"):
        _write(tmp_path / stage / "samples.jsonl", [{"step": n, "prompt": "q?", "response": f"r{n}"} for n in (1, 2)])
    text = load("curated-or-random").page(run)
    assert "seed 0: **1,000 curated (LIMA)**" in text
    row = "| preferred (the judge) | 0 | 0.9000 | 0.8000 | -0.1000 [-0.1200, -0.0800] | 0.0010 | 50 | 40 |"
    assert row in text and "| r2 |" in text and "| r1 |" not in text


def test_samples_are_the_same_at_every_making() -> None:
    rows = [{"prompt": str(number)} for number in range(100)]
    assert samples(rows, ("prompt",)) == samples(rows, ("prompt",))
    assert len(samples(rows, ("prompt",), shown=3)) == 6 + 3


def test_a_long_cell_says_that_it_was_cut() -> None:
    assert cell("ab " * 400).endswith("(cut, 1,199 characters)")
    assert cell("short") == "short"


def test_a_share_has_its_interval() -> None:
    assert share(0.5, 100) == "0.500 [0.404, 0.596], n 100"


def test_a_stage_is_found_by_its_whole_id(tmp_path: Path) -> None:
    run = _run(tmp_path, {"1-teacher": {"a": 1}, "2-other-teacher": {"a": 2}})
    assert stage_folder(run.folder, "teacher").name == "1-teacher"
    assert figures(run.folder, "other-teacher") == {"a": 2}


def test_the_page_of_honest_over_two_seeds(tmp_path: Path) -> None:
    def outcome(wrong: float) -> dict[str, object]:
        shares = {"right": 0.9 - wrong, "abstained": 0.1, "wrong": wrong}
        found: dict[str, object] = {
            grade: {"value": value, "ci95": [value - 0.01, value + 0.01]} for grade, value in shares.items()
        }
        return found | {
            "n": 40,
            "num_roots": 10,
            "coverage": 0.9,
            "risk": wrong / 0.9,
            "scores": {"0": 0.5, "4": -wrong},
        }

    for number, wrong in ((0, 0.2), (1, 0.4)):
        folder = tmp_path / f"seed-{number}"
        run = _run(folder, {"1-rl": {}, "2-evaluate": {}, "3-honesty": {}})
        groups = dict.fromkeys(["all", *load("honest").GROUPS], outcome(wrong))
        (folder / "3-honesty" / "honesty.json").write_text(json.dumps({"sft": groups, "rl": groups}), encoding="utf-8")
        _write(folder / "1-rl" / "metrics.jsonl", [{"step": step, "score_mean": 0.1 * step} for step in (1, 2)])
        answers = [
            {"group": group, "prompt": "q?", "before": "it is red.", "after": "i do not know."} for group in groups
        ]
        _write(folder / "2-evaluate" / "samples.jsonl", answers)
    write_summary(Summary(verdict_text="Better: invention fell.", seeds=[0, 1]), tmp_path / "summary.json")
    text = load("honest").page(Run("honest", tmp_path, "tuningfork run honest", run.docs))
    assert "Better: invention fell." in text and text.count("| q? | it is red. | i do not know. |") == 3
    row = "| sft | 0.600 [0.590, 0.610] | 0.100 [0.090, 0.110] | 0.300 [0.290, 0.310] | 40 of 10 roots | 0.200, 0.400 |"
    assert text.count(row) == 3
    assert "| rl | 0.900 (0.900, 0.900) | 0.333 | +0.500 | -0.300 |" in text


def _run(folder: Path, stages: Mapping[str, Mapping[str, Any]], gate: ManifestGate | None = None) -> Run:
    """A run's folder with manifests of these figures."""
    for name, found in stages.items():
        (folder / name).mkdir(parents=True)
        number, _, id_ = name.partition("-")
        gates = [gate] if gate else []
        made = {"seconds": 10.0, "device": "cpu", "threads": int(number)}
        write_manifest(folder / name, Manifest(id=id_, kind="sft", key="0", figures=dict(found), gates=gates, **made))
    (folder / "docs").mkdir(exist_ok=True)
    return Run("snazzy", folder, "tuningfork run snazzy", folder / "docs")


def _write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
