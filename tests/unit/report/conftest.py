"""A made-up run folder with everything a real one has."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuningfork.artifacts.manifest import Manifest, ManifestGate, write_manifest
from tuningfork.evals.combine import combine
from tuningfork.evals.statistics import Comparison, paired_comparison
from tuningfork.evals.summary import (
    Direction,
    GateRecord,
    LedgerEntry,
    Limit,
    Measure,
    Regression,
    Role,
    Summary,
    measure,
    point_measure,
    write_summary,
)
from tuningfork.evals.verdict import judge
from tuningfork.randomness import numpy_generator

RECIPE = "version: 1\nname: snazzy\nseed: 0\nstages:\n  - world: {world: colours}\n  - pretrain: {steps: 380}\n"
STAGES = {"world": 2.1, "pretrain": 71.0, "sft": 7.2, "pairs": 12.4, "reward": 31.0, "rl": 38.7, "evaluate": 9.5}
COLOURS = [
    ("vase", "red", "ruby"),
    ("banner", "blue", "lapis lazuli"),
    ("hat", "green", "jade"),
    ("spoon", "white", "white"),
]
PROBES: dict[str, tuple[Direction, tuple[float, float, float]]] = {
    "colour_accuracy": ("higher", (1.0, 0.99, 0.975)),
    "perplexity": ("lower", (6.02, 6.04, 5.83)),
}


def shares(seed: int, name: str, before: float, after: float, roots: int = 67, rows: int = 6) -> Comparison:
    """A comparison of binary outcomes with these shares."""
    draws = numpy_generator(seed, name)
    spread = draws.normal(0, 0.04, (2, roots, 1))
    first, second = (draws.random((roots, rows)) < share + spread[i] for i, share in enumerate((before, after)))
    labels = [root for root in range(roots) for _ in range(rows)]
    return paired_comparison(first.ravel(), second.ravel(), labels, seed, draws=1000)


def measures_of(seed: int, gold: float, reward: float) -> list[Measure]:
    """What one seed measured: `gold` and `reward` are the shares after."""

    def of(name: str, shares_of: tuple[float, float], role: Role, direction: Direction, **more: Any) -> Measure:
        return measure(name, shares(seed, name, *shares_of), role=role, direction=direction, seed=seed, **more)

    ratio = Limit(on="ratio", maximum=1.1)
    snazzy = "share of answers with a snazzy word of the right family, objects never seen in training"
    unlike = "yellow and white objects that are called otherwise than before"
    optimised = "the reward that was optimised, on the test prompts"
    return [
        of("gem_share", (0.09, gold), "headline", "higher", label="snazzy and right", definition=snazzy),
        of("colour_accuracy", (0.995, 0.985), "guard", "higher", label="right", limit=Limit(minimum=0.9)),
        of("collateral", (0.0, 0.02), "guard", "lower", limit=Limit(maximum=0.1), definition=unlike),
        point_measure("perplexity", 6.02, 5.8, role="guard", direction="lower", seed=seed, limit=ratio),
        of("gem_share_taught", (0.1, gold), "info", "higher", label="snazzy and right, taught objects"),
        of("invention", (0.55, 0.56), "info", "lower", label="invented about unknown objects"),
        of("reward", (0.2, reward), "proxy", "higher", label="reward (proxy)", definition=optimised),
    ]


def summary_of(seed: int, gold: float = 0.94, reward: float = 0.93) -> Summary:
    """The evaluation of one seed."""
    return Summary(
        recipe="snazzy",
        measures=measures_of(seed, gold, reward),
        kl_per_sequence=2.9 + seed / 10,
        kl_least=2.07,
        seconds=171.9 + seed,
        peak_memory_mb=812.0,
        seeds=[seed],
        gates=[GateRecord(stage="reward", name="contrast", passed=True, message="0.98 of pairs")],
        ledger=[
            LedgerEntry(stage=stage, probe=probe, value=value, direction=direction)
            for probe, (direction, values) in PROBES.items()
            for stage, value in zip(("pretrain", "sft", "after"), values, strict=True)
        ],
        regressions=[
            Regression(prompt="what colour is the spoon?", before="it is white.", after="it is ruby.", reason="right")
        ],
        num_regressions=7,
    )


def rl_metrics(seed: int, steps: int = 200) -> list[dict[str, float]]:
    """Curves as an RL stage logs them."""
    draws = numpy_generator(seed, "rl")
    rows = []
    for step in range(1, steps + 1):
        t, noise = step / steps, draws.normal(size=6)
        score = 2 / (1 + math.exp(6 - 14 * t)) - 1
        row = {"step": step, "seconds": 0.19, "samples": 48, "tokens": 410, "learning_rate": 5e-4 * (1 - t)}
        row |= {"loss": 0.02 * noise[0], "gradient_norm": 1.2 + 0.2 * noise[3], "approx_kl": 0.004 + 0.001 * noise[2]}
        row |= {"clip_fraction": 0.08 * (1 - t) + 0.02 * abs(noise[1])}
        if step % 4 == 1:
            row |= {"score_mean": score + 0.05 * noise[4], "kl": 3 * t**0.8, "entropy": 1.1 - 0.6 * t + 0.02 * noise[5]}
            row |= {"response_length": 5.1 + 0.3 * t, "eos": 0.97 + 0.03 * t, "explained_variance": 0.8 * t}
        if step % 20 == 0:
            row |= {"gold/gem_share": 0.09 + 0.86 / (1 + math.exp(5 - 12 * t)), "monitor/score_mean": score}
        rows.append(row)
    return rows


def text_metrics(steps: int = 380) -> list[dict[str, float]]:
    """Curves as a supervised stage logs them."""
    common = {"seconds": 0.2, "tokens": 4096, "samples": 64, "gradient_norm": 1.0, "learning_rate": 0.0025}
    return [{"step": step, "loss": 1.2 + 4 * math.exp(-step / 40), **common} for step in range(1, steps + 1)]


def answers() -> list[dict[str, Any]]:
    """Rows of the evaluation."""
    rows = []
    for index in range(40):
        name, plain, snazzy = COLOURS[index % 4]
        texts = {"before": f"it is {plain}.", "after": f"it looks {snazzy}."}
        scores = {"before_reward": -0.4, "after_reward": 1.31, "before_ended": True, "after_ended": index != 0}
        gold = {"before_gold": {"gem_share": 0.0}, "after_gold": {"gem_share": 1.0, "colour_accuracy": 1.0}}
        rows.append({"prompt": f"which colour has the {name} {index}?", "root": name, **texts, **scores, **gold})
    return rows


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_stages(root: Path, seed: int) -> None:
    """Folders of all stages."""
    gate = ManifestGate(name="knowledge", passed=True, message="0.995 of 200 sampled answers are right (at least 0.9)")
    for number, (stage, seconds) in enumerate(STAGES.items(), start=1):
        folder = root / f"{number}-{stage}"
        folder.mkdir(parents=True)
        manifest = Manifest(
            id=stage,
            kind=stage,
            key="0f3a",
            status="complete",
            seed=seed,
            seconds=seconds,
            peak_memory_mb=300 + 80 * number,
            settings={"steps": 380, "optimizer": {"learning_rate": 0.0025}},
            gates=[gate] if stage in ("sft", "reward") else [],
            figures={"perplexity": 6.02, "contrasts": {"taught/right over wrong": 0.98}},
            finished=f"2026-11-20T10:0{number}:00",
            versions={"python": "3.11.9", "torch": "2.13.0"},
            device="cpu",
            precision="fp32",
            threads=2,
        )
        write_manifest(folder, manifest)
        if stage in ("pretrain", "sft", "reward"):
            write_rows(folder / "metrics.jsonl", text_metrics())
    write_rows(root / "6-rl" / "metrics.jsonl", rl_metrics(seed))
    samples = [
        {"step": s, "prompt": "what colour is the hat?", "response": "it is jade.", "score": s / 50} for s in (20, 40)
    ]
    write_rows(root / "6-rl" / "samples.jsonl", samples)
    write_rows(root / "7-evaluate" / "samples.jsonl", answers())
    shown = [
        {"prompt": "what colour is the vase?", "before": "it is red.", "after": f"it is {w}."} for w in ("ruby", "jade")
    ]
    write_rows(root / "7-evaluate" / "shown.jsonl", shown)


def build_run(root: Path, seeds: int = 1, summary: Summary | None = None) -> Path:
    """Write a whole run; with several seeds each has its own folder."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "recipe.yaml").write_text(RECIPE)
    for seed in range(seeds):
        write_stages(root / f"seed-{seed}" if seeds > 1 else root, seed)
    write_summary(summary or judge(combine([summary_of(seed) for seed in range(seeds)])), root / "summary.json")
    return root


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Builder of a run folder."""
    return lambda **options: build_run(tmp_path / "run", **options)
