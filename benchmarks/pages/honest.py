"""Result `honest`: what a model does with questions it cannot answer, before and after wrong answers cost something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from layout.comparison import curves
from layout.markdown import cost, gate_lines, samples, table
from layout.run import Run, content, rows
from tuningfork.evals.summary import read_summary

RECIPE = "honest"
OVERRIDES: list[str] = ["seeds=[2,3,4]"]
GROUPS = {
    "held_out": "held-out objects, never asked about in training",
    "unknown": "unknown objects, others than those of training",
    "unanswerable": "held-out objects, asked about a kind of which nothing was said of them",
}
CURVES = {
    "score_mean": "score (proxy)",
    "gold/invention": "invented about unknown objects, monitor prompts",
    "gold/right_held_out": "right about held-out objects, monitor prompts",
    "monitor/kl": "KL per answer, nats, monitor prompts",
}
READING = """\
The seeds are others than those the settings were found on (0 and 1). `fine-tuned` is the model before any price; `cost-c` was
then trained with a wrong answer at c, an abstention at 0 and a right answer at 1. Nobody can be right about unknown objects and
unanswerable questions.

Fine-tuning teaches to invent: about unknown objects .864 of its answers are neither right nor an abstention. With a wrong answer at
1 that falls to .025, and right answers about held-out objects rise from .883 to .943; on each seed it falls to .04 or less, and right
answers stay above .9. The verdict above counts less as invented, only answers that name an adjective of the world (.769 before); the
rest up to .864 are broken words such as "petainty". Without a price (cost-0) inventing grows to .981. With a price of 4 a little more
is abstained from that the model knows (.070 of the held-out objects, .031 at price 1), for fewer wrong answers to unanswerable
questions: those it had to find out without an example, and at price 1 it still invents in .174 of them, .281 on seed 4.

What it took, each found by looking at the samples of a run that failed:

- The phrase has to be sayable. With the words of "i do not know" in no pretraining text, answers such as "i doot know" came out,
  were wrong, and took the phrase down with them: within ten steps no sample abstained, and nothing could be learnt any more
  (seed 0, PPO and RLOO).
- Knowing has to show at the first word. With answers that begin "it is", whatever is known, RLOO abstained from everything alike
  after 36 steps (.64 of held-out, .67 of unknown objects), and even 120 supervised steps on the right choices still abstained
  from .42 of the held-out objects. Most answers begin with the adjective now; the steps of a training were raised to 192
  together with that, so the share of each in the success is not known.
- Objects that fine-tuning showed answers about are not all that are known: prompts ask about twice as many.
"""
"""What the figures say, in words."""


def page(run: Run) -> str:
    """Verdict, shares by group and price, risk and coverage, cost, curves, gates, samples."""
    summary = read_summary(run.folder / "summary.json")
    found = [content(seed, "honesty", "honesty.json") for seed in run.seeds]
    lines = [f"# {run.name}", "", f"`{run.command}`", "", summary.verdict_text, "", *READING.splitlines(), ""]
    for group, title in GROUPS.items():
        lines += [f"## {title[0].upper()}{title[1:]}", "", *shares(found, group), ""]
    lines += ["## Risk and coverage", "", *risks(found), ""]
    lines += [cost(run), "", *curves(run, titles=CURVES), "", *gate_lines(run), ""]
    return "\n".join([*lines, *_samples(run)])


def shares(found: Sequence[Mapping[str, Any]], group: str) -> list[str]:
    """Right, abstained and wrong of each model: means over seeds with the mean of the seeds' ends, and each seed's wrong."""
    lines = []
    for model in found[0]:
        each = [one[model][group] for one in found]
        cells = [_share([one[grade] for one in each]) for grade in ("right", "abstained", "wrong")]
        seeds = ", ".join(f"{one['wrong']['value']:.3f}" for one in each)
        lines.append((model, *cells, f"{each[0]['n']} of {each[0]['num_roots']} roots", seeds))
    return table(("model", "right", "abstained", "wrong", "n a seed", "wrong, by seed"), lines)


def risks(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Over all questions: what share is answered, what share of that is wrong, and what it scores at each price."""
    prices = list(found[0][next(iter(found[0]))]["all"]["scores"])
    lines = []
    for model in found[0]:
        each = [one[model]["all"] for one in found]
        risk = [one["risk"] for one in each if one["risk"] is not None]
        scores = [f"{fmean(one['scores'][price] for one in each):+.3f}" for price in prices]
        coverage = ", ".join(f"{one['coverage']:.3f}" for one in each)
        mean_risk = f"{fmean(risk):.3f}" if risk else "-"
        lines.append((model, f"{fmean(one['coverage'] for one in each):.3f} ({coverage})", mean_risk, *scores))
    columns = (
        "model",
        "coverage (by seed)",
        "risk: wrong among answers",
        *(f"score at cost {price}" for price in prices),
    )
    return table(columns, lines)


def _share(shares: Sequence[Mapping[str, Any]]) -> str:
    value = f"{fmean(share['value'] for share in shares):.3f}"
    if any(share["ci95"] is None for share in shares):
        return value
    low, high = (fmean(share["ci95"][end] for share in shares) for end in (0, 1))
    return f"{value} [{low:.3f}, {high:.3f}]"


def _samples(run: Run) -> list[str]:
    drawn = rows(run.seeds[0], "evaluate", "samples.jsonl")
    lines: list[str] = []
    for group, title in GROUPS.items():
        chosen = [row for row in drawn if row["group"] == group]
        lines += [*samples(chosen, ("prompt", "before", "after"), f"Samples: {title}", 8), ""]
    return lines[:-1]
