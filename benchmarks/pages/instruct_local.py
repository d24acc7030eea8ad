"""Result `instruct-local`: a small model that follows instructions, from a folder of data."""

from __future__ import annotations

from typing import Any

from layout.comparison import curves
from layout.markdown import cost, gate_lines, interval, reading, samples, share, table
from layout.run import Run, figures, rows

RECIPE = "instruct-local"
OVERRIDES: list[str] = ["data=../shared/data", "sft.epochs=0.5"]
CURVES = {"heldout/loss": "loss of held-out answers, nats a token"}


def page(run: Run) -> str:
    """Figures with intervals, the curve of the held-out loss, gates, samples."""
    lines = [f"# {run.name}", "", f"`{run.command}`", "", *reading(run), "## Measures", ""]
    found = []
    for number, seed in zip(run.seed_numbers, run.seeds, strict=True):
        base, tuned = figures(seed, "pretrain"), figures(seed, "sft")
        found += [
            ("bits per byte of held-out text, after pretraining", number, f"{base['bits_per_byte']:.3f}"),
            ("answers that end by themselves", number, share(tuned["stop_rate"], tuned["stop_answers"])),
            (
                "loss of held-out answers before fine-tuning, nats a token",
                number,
                f"{tuned['heldout_loss_before']:.3f}",
            ),
            ("the same after it", number, _with_ends(tuned["heldout_loss"], tuned["heldout_loss_ci95"])),
            ("change, over answers", number, _change(tuned)),
            ("share of held-out answer tokens guessed right", number, f"{tuned['heldout_token_accuracy']:.3f}"),
        ]
    lines += [*table(("measure", "seed", "value, 95 % interval"), found), "", *curves(run, "sft", CURVES)]
    lines += ["", cost(run), "", *gate_lines(run), ""]
    probed = [row for row in rows(run.seeds[0], "sft", "samples.jsonl") if row.get("purpose") == "stop probe"]
    return "\n".join(lines + samples(probed, ("prompt", "response", "ended")))


def _change(tuned: dict[str, Any]) -> str:
    return interval(tuned["heldout_loss"] - tuned["heldout_loss_before"], tuned["heldout_change_ci95"])


def _with_ends(value: float, ends: list[float]) -> str:
    return f"{value:.3f} [{ends[0]:.3f}, {ends[1]:.3f}]"
