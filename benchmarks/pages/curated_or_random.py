"""Result `curated-or-random`: 1,000 curated examples against 4,500 that were not chosen, with a judge."""

from __future__ import annotations

from layout.markdown import cell, cost, gate_lines, interval, reading, table
from layout.run import Run, content, figures, rows

RECIPE = "curated-or-random"
OVERRIDES: list[str] = ["data=../shared/data", "sft-curated.steps=120", "sft-random.steps=120"]
NAMES = {"first": "4,500 random (Alpaca)", "second": "1,000 curated (LIMA)", "cannot_tell": "cannot tell"}


def page(run: Run) -> str:
    """Verdict, nats a byte of each set of answers, what each model was trained on, samples of both."""
    lines = [f"# {run.name}", "", f"`{run.command}`", ""]
    compared = [content(seed, "likelihood", "likelihood.json") for seed in run.seeds]
    for number, one in zip(run.seed_numbers, compared, strict=True):
        lines.append(
            f"Better by the judge (answers preferred on AlpacaEval), seed {number}: **{NAMES[one['better']]}**."
        )
    lines += ["", *reading(run), "## Measures", "", "Nats a byte of answers by other authors; lower is better.", ""]
    found = []
    for number, one in zip(run.seed_numbers, compared, strict=True):
        for name, c in one["answers"].items():
            values = f"{c['before']:.4f}", f"{c['after']:.4f}", interval(c["difference"], c["ci95"], 4), f"{c['p']:.4f}"
            judge = " (the judge)" if name == one["judge"] else ""
            found.append((name + judge, number, *values, c["n"], c["num_roots"]))
    columns = ("answers", "seed", NAMES["first"], NAMES["second"], "difference, 95 % interval", "p", "n", "prompts")
    lines += [*table(columns, found), "", *_training(run), "", cost(run), ""]
    if any(one for one in gate_lines(run)[2:]):
        lines += [*gate_lines(run), ""]
    return "\n".join(lines + _samples(run))


def _training(run: Run) -> list[str]:
    """What each model was trained on, of the first seed."""
    columns = (
        "trained on",
        "demonstrations",
        "share of tokens trained on",
        "held-out loss of its own kind",
        "best step",
    )
    found = []
    for who, stage in (("second", "sft-curated"), ("first", "sft-random")):
        of = figures(run.seeds[0], stage)
        values = f"{of['demonstrations']:,}", f"{of['supervised_share']:.2f}", f"{of['heldout_loss']:.3f}"
        found.append((NAMES[who], *values, of["best_step"]))
    return table(columns, found)


def _samples(run: Run) -> list[str]:
    """Answers that both models gave at their last look, to the first held-out questions of either set."""
    lines = ["## Samples", "", "The first held-out questions of each set at the last look, not picked.", ""]
    for who, stage in (("second", "sft-curated"), ("first", "sft-random")):
        drawn = rows(run.seeds[0], stage, "samples.jsonl")
        last = [row for row in drawn if row["step"] == max(one["step"] for one in drawn)]
        lines += [f"{NAMES[who]}:", ""]
        lines += [*table(("prompt", "answer"), [(cell(row["prompt"]), cell(row["response"])) for row in last]), ""]
    return lines[:-1]
