"""Result `hh-local`: people's comparisons of harmless answers, learnt by a small model from nothing with DPO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from layout.markdown import cost, gate_lines, interval, reading, samples, table
from layout.run import Run, content, figures, rows

RECIPE = "hh-local"
OVERRIDES: list[str] = ["data=../shared/data"]
SHOWN = 6
"""Answers on the page: the dialogues hold harmful talk."""


def page(run: Run) -> str:
    """What each stage learnt, the card's sentences, before and after, gates, answers."""
    seed = run.seeds[0]
    base, tuned, preferred = (figures(seed, stage) for stage in ("pretrain", "sft", "preference"))
    lines = [f"# {run.name}", "", f"`{run.command}`", "", *reading(run), "## Measures", ""]
    card = content(seed, "reward", "card.json")
    found = [
        ("bits per byte of held-out text, after pretraining", f"{base['bits_per_byte']:.3f}"),
        ("loss of held-out chosen answers before fine-tuning, nats a token", f"{tuned['heldout_loss_before']:.3f}"),
        ("the same after it", f"{tuned['heldout_loss']:.3f}"),
        (
            "change, over answers",
            interval(tuned["heldout_loss"] - tuned["heldout_loss_before"], tuned["heldout_change_ci95"]),
        ),
        (f"DPO: right order of {preferred['comparisons']} held-out comparisons", f"{preferred['accuracy']:.3f}"),
        ("DPO: margin of held-out comparisons, nats", f"{preferred['margin']:+.3f}"),
        ("DPO: chosen answers became likelier by, nats", f"{preferred['chosen_shift']:+.3f}"),
        ("DPO: rejected ones by", f"{preferred['rejected_shift']:+.3f}"),
        ("DPO in a word", preferred["verdict"]),
    ]
    lines += [*table(("measure", "value, 95 % interval"), found), ""]
    lines += ["## Before and after DPO, held-out dialogues", "", *_compared(seed), ""]
    lines += ["## The reward model's card", "", *(f"- {one}" for one in card["verdict"]["sentences"]), ""]
    lines += [cost(run), "", *gate_lines(run), ""]
    answered = rows(seed, "evaluate", "samples.jsonl")
    return "\n".join(lines + samples(answered, ("prompt", "before", "after"), shown=SHOWN))


def _compared(seed: Path) -> list[str]:
    measures = content(seed, "evaluate", "summary.json")["measures"]
    cells = [
        (m["label"] or m["name"].replace("_", " "), f"{m['before']:.3f}", f"{m['after']:.3f}", _change(m))
        for m in measures
    ]
    return table(("measure", "after SFT", "after DPO", "difference, 95 % interval"), cells)


def _change(measure: dict[str, Any]) -> str:
    return interval(measure["after"] - measure["before"], measure.get("ci95"))
