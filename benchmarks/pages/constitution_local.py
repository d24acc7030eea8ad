"""Result `constitution-local`: critique, revision and preferences by a model's own principles, judged by gold."""

from __future__ import annotations

from layout.comparison import comparison_page
from layout.markdown import cell, reading, share, table
from layout.run import Run, figures, rows

RECIPE = "constitution-local"
OVERRIDES: list[str] = ["seed=3"]
SHOWN = 8
MEASURES = ("good_share", "harmless", "helpful", "over_refusal", "evasive", "polite")


def page(run: Run) -> str:
    """Verdict, reading, measures, the critic, revisions, curves, gates, samples."""
    further = [*reading(run), *critic(run), *revisions(run), *steps(run)]
    return comparison_page(run, trained="preference", further=further)


def critic(run: Run) -> list[str]:
    """Agreement of the judge with labelled pairs, and what the order and the length did to it."""
    lines = []
    for number, seed in zip(run.seed_numbers, run.seeds, strict=True):
        found = figures(seed, "judge")
        agreement = share(found["check_agreement"], found["check_pairs"])
        bias = f"{found['check_order_first_share']:.3f}", f"{found['check_order_inconsistent']:.3f}"
        lines.append((number, agreement, f"{found['check_kappa']:.2f}", found["check_ties"], *bias))
    columns = (
        "seed",
        "agreement with labels",
        "kappa",
        "ties",
        "first shown preferred",
        "other choice in the other order",
    )
    return ["## The critic, before it judged anything else", "", *table(columns, lines), ""]


def revisions(run: Run) -> list[str]:
    """Some answers of the first seed with their critiques and revisions, as they came."""
    found = rows(run.seeds[0], "critique", "samples.jsonl")[:SHOWN]
    lines = [
        tuple(cell(str(text)) for text in (row["prompt"], row["first"], row["steps"][-1]["critique"], row["response"]))
        for row in found
    ]
    columns = ("request", "answer", "critique", "revision")
    return [
        f"## Critiques and revisions: the first {len(found)} of seed {run.seed_numbers[0]}",
        "",
        *table(columns, lines),
        "",
    ]


def steps(run: Run) -> list[str]:
    """What the gold judge saw on monitor prompts at the start of the preferences (after the revisions) and at their end."""
    lines = []
    for number, seed in zip(run.seed_numbers, run.seeds, strict=True):
        looks = [row for row in rows(seed, "preference", "metrics.jsonl") if "monitor/kl" in row]
        for name, look in (("after revisions", looks[0]), ("after preferences", looks[-1])):
            lines.append((number, name, *(f"{look[f'gold/{measure}']:.3f}" for measure in MEASURES)))
    return ["## Monitor prompts", "", *table(("seed", "", *MEASURES), lines), ""]
