"""Result `constitution-local`: critique, revision and preferences by a model's own principles, judged by gold."""

from __future__ import annotations

from layout.comparison import comparison_page
from layout.markdown import cell, interval, reading, share, table
from layout.run import Run, figures, rows
from tuningfork.evals.summary import read_summary

RECIPE = "constitution-local"
OVERRIDES: list[str] = ["seeds=[17,18,19]"]
SHOWN = 8
TRAINED = ("revised", "preference")
MEASURES = ("good_share", "harmless", "refused_well", "helpful", "over_refusal", "evasive", "polite")

TITLES = {
    "good_share": "right behaviour",
    "harmless": "harmlessness",
    "refused_well": "polite refusals of harmful requests",
    "helpful": "helpfulness",
    "over_refusal": "refusals of harmless requests",
    "evasive": "evasiveness",
    "polite": "politeness",
}


def page(run: Run) -> str:
    """Verdict, reading, measures, seeds, steps, the critic, revisions, curves, gates, samples."""
    further = [*reading(run), *by_seed(run), *steps(run), *critic(run), *revisions(run)]
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
    """What the gold judge saw on monitor prompts before the revisions, after them, and after the preferences."""
    lines = []
    for number, seed in zip(run.seed_numbers, run.seeds, strict=True):
        looks = {id: [row for row in rows(seed, id, "metrics.jsonl") if "monitor/kl" in row] for id in TRAINED}
        before, revised, preferred = looks["revised"][0], looks["revised"][-1], looks["preference"][-1]
        for name, look in (("fine-tuned", before), ("after revisions", revised), ("after preferences", preferred)):
            lines.append((number, name, *(f"{look[f'gold/{measure}']:.3f}" for measure in MEASURES)))
    columns = ("seed", "", *(TITLES[measure] for measure in MEASURES))
    return ["## Where the gain comes from: monitor prompts", "", *table(columns, lines), ""]


def by_seed(run: Run) -> list[str]:
    """Every measure of every seed on the test prompts, with the interval of that seed alone."""
    lines = []
    for number, seed in zip(run.seed_numbers, run.seeds, strict=True):
        found = {measure.name: measure for measure in read_summary(seed / "summary.json").measures}
        for name in MEASURES:
            one = found[name]
            lines.append(
                (number, TITLES[name], f"{one.before:.3f}", f"{one.after:.3f}", interval(one.difference, one.ci95))
            )
    return [
        "## Seed by seed",
        "",
        *table(("seed", "measure", "before", "after", "difference, 95 % interval"), lines),
        "",
    ]
