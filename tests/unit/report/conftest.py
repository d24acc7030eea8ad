"""A made-up run folder with everything a real one has."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from tuningfork.evals.combine import combine
from tuningfork.evals.statistics import paired_comparison
from tuningfork.evals.summary import GateRecord, LedgerEntry, Limit, Regression, Summary, measure, point_measure, write_summary
from tuningfork.evals.verdict import judge
from tuningfork.randomness import numpy_generator

RECIPE = "version: 1\nname: snazzy\nseed: 0\nstages:\n  - world: {world: colours}\n  - pretrain: {steps: 380}\n"
STAGES = {"world": 2.1, "pretrain": 71.0, "sft": 7.2, "pairs": 12.4, "reward": 31.0, "rl": 38.7, "evaluate": 9.5}
COLOURS = {"vase": ("red", "ruby"), "banner": ("blue", "lapis lazuli"), "hat": ("green", "jade"), "spoon": ("yellow", "yellow")}


def shares(seed: int, name: str, before: float, after: float, roots: int = 67, rows: int = 6):
    """A comparison of binary outcomes."""
    draws = numpy_generator(seed, name)
    spread = draws.normal(0, 0.04, (2, roots, 1))
    outcomes = [draws.random((roots, rows)) < share + spread[side] for side, share in enumerate((before, after))]
    return paired_comparison(*(o.ravel() for o in outcomes), [r for r in range(roots) for _ in range(rows)], seed, draws=1000)


def summary_of(seed: int, gold: float = 0.94, reward: float = 0.93) -> Summary:
    """What the evaluation of one seed measured."""

    def of(name, before, after, role, direction, **more):
        return measure(name, shares(seed, name, before, after), role=role, direction=direction, seed=seed, **more)

    return Summary(
        recipe="snazzy",
        measures=[
            of("gem_share", 0.09, gold, "headline", "higher", label="snazzy and right", definition="share of answers with a snazzy word of the right family, objects never seen in training"),
            of("colour_accuracy", 0.995, 0.985, "guard", "higher", label="right", limit=Limit(minimum=0.95), definition="the same with a plain or a snazzy word"),
            of("collateral", 0.0, 0.02, "guard", "lower", limit=Limit(maximum=0.05), definition="yellow and white objects that are called otherwise than before"),
            point_measure("perplexity", 6.02, 5.83 + seed / 50, role="guard", direction="lower", seed=seed, limit=Limit(on="ratio", maximum=1.1), definition="perplexity per token of unrelated held-out text"),
            of("gem_share_taught", 0.1, gold, "info", "higher", label="snazzy and right, taught objects"),
            of("invention", 0.55, 0.56, "info", "lower", label="invented about unknown objects"),
            of("reward", 0.2, reward, "proxy", "higher", label="reward (proxy)", definition="the reward that was optimised, on the test prompts"),
        ],
        kl_per_sequence=2.9 + seed / 10,
        kl_least=2.07,
        seconds=171.9 + seed,
        peak_memory_mb=812.0,
        seeds=[seed],
        gates=[GateRecord(stage="reward", name="contrast", passed=True, message="right above wrong in 0.98 of pairs")],
        ledger=[
            LedgerEntry(stage=stage, probe=probe, value=value, direction=direction)
            for probe, direction, values in (("colour_accuracy", "higher", (1.0, 0.99, 0.975)), ("perplexity", "lower", (6.02, 6.04, 5.83)))
            for stage, value in zip(("pretrain", "sft", "after"), values, strict=True)
        ],
        regressions=[Regression(prompt="what colour is the spoon?", before="it is yellow.", after="it is ruby.", reason="right", root="spoon")],
        num_regressions=7,
    )  # fmt: skip


def rl_metrics(seed: int, steps: int = 200) -> list[dict]:
    """Curves as an RL stage logs them."""
    draws = numpy_generator(seed, "rl")
    rows = []
    for step in range(1, steps + 1):
        t = step / steps
        noise = draws.normal(size=6)
        row = {"step": step, "seconds": 0.19, "samples": 48, "tokens": 410, "learning_rate": 5e-4 * (1 - t), "loss": 0.02 * noise[0]}
        row |= {"clip_fraction": 0.08 * (1 - t) + 0.02 * abs(noise[1]), "approx_kl": 0.004 * (1 + 0.3 * noise[2]), "gradient_norm": 1.2 + 0.2 * noise[3]}
        if step % 4 == 1:
            row |= {"score_mean": 2 / (1 + math.exp(6 - 14 * t)) - 1 + 0.05 * noise[4], "kl": 3 * t**0.8, "entropy": 1.1 - 0.6 * t + 0.02 * noise[5]}
            row |= {"response_length": 5.1 + 0.3 * t, "eos": min(1.0, 0.97 + 0.03 * t), "explained_variance": 0.8 * t}
        if step % 20 == 0:
            row |= {"gold/gem_share": 0.09 + 0.86 / (1 + math.exp(5 - 12 * t)), "monitor/score_mean": 2 / (1 + math.exp(6 - 14 * t)) - 1}
        rows.append(row)
    return rows


def write_stages(root: Path, seed: int) -> None:
    for number, (stage, seconds) in enumerate(STAGES.items(), start=1):
        folder = root / f"{number}-{stage}"
        folder.mkdir(parents=True)
        gates = [{"name": "knowledge", "passed": True, "message": "0.995 of 200 sampled answers are right (at least 0.9)", "figures": {}}]
        manifest = {
            "version": 1, "id": stage, "stage": stage, "key": "0f3a", "settings": {"steps": 380, "optimizer": {"learning_rate": 0.0025}},
            "gates": gates if stage in ("pretrain", "sft", "reward") else [], "seconds": seconds + seed, "peak_memory_mb": 300 + 80 * number,
            "started": "2026-11-20T10:00:00", "finished": f"2026-11-20T10:0{number}:00", "figures": {"perplexity": 6.02, "contrasts": {"taught/right over wrong": 0.98}},
            "versions": {"python": "3.11.9", "torch": "2.13.0", "tuningfork": "0.1.0"}, "machine": {"cpu": "2 cores", "threads": 2},
        }  # fmt: skip
        (folder / "manifest.json").write_text(json.dumps(manifest))
        (folder / "card.md").write_text(f"# {stage}\n\nTrained on **one** machine.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
        metrics = rl_metrics(seed) if stage == "rl" else []
        if stage in ("pretrain", "sft", "reward"):
            metrics = [{"step": s, "seconds": 0.2, "tokens": 4096, "samples": 64, "loss": 1.2 + 4 * math.exp(-s / 40), "gradient_norm": 1.0, "learning_rate": 0.0025} for s in range(1, 381)]  # fmt: skip
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
        samples = []
        if stage == "rl":
            samples = [{"step": s, "prompt": "what colour is the hat?", "response": "it is jade.", "score": s / 50} for s in (20, 40)]
        if stage == "evaluate":
            for index in range(40):
                name, (plain, snazzy) = list(COLOURS.items())[index % 4]
                samples.append(
                    {
                        "prompt": f"which colour has the {name} {index}?", "before": f"it is {plain}.", "after": f"it looks {snazzy}.", "root": name,
                        "form": index % 3, "before_reward": -0.4, "after_reward": 1.31, "before_gold": {"gem_share": 0.0, "colour_accuracy": 1.0},
                        "after_gold": {"gem_share": 1.0, "colour_accuracy": 1.0}, "before_ended": True, "after_ended": index != 3,
                    }  # fmt: skip
                )
            shown = [{"prompt": "what colour is the vase?", "before": "it is red.", "after": f"it is {w}."} for w in ("ruby", "ruby", "scarlet")]
            (folder / "shown.jsonl").write_text("".join(json.dumps(row) + "\n" for row in shown))
        (folder / "samples.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in samples))


def build_run(root: Path, seeds: int = 1, summary: Summary | None = None) -> Path:
    """Write a whole run; with several seeds each has its own folder."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "recipe.yaml").write_text(RECIPE)
    for seed in range(seeds):
        write_stages(root / f"seed-{seed}" if seeds > 1 else root, seed)
    found = summary or judge(combine([summary_of(seed) for seed in range(seeds)]))
    write_summary(found, root / "summary.json")
    return root


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Builder of a run folder."""
    return lambda **options: build_run(tmp_path / "run", **options)
