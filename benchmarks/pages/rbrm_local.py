"""Result `rbrm-local`: a rubric as reward, the classifier measured first, and what a gold judge says of it."""

from __future__ import annotations

from collections import Counter

from layout.comparison import comparison_page
from layout.markdown import reading, share, table
from layout.run import Run, content, figures

RECIPE = "rbrm-local"
OVERRIDES: list[str] = ["seeds=[4,5,6]"]


def page(run: Run) -> str:
    """Verdict, reading, measures, the classifier, curves, gates, samples."""
    return comparison_page(run, further=[*reading(run), *classifier(run)])


def classifier(run: Run) -> list[str]:
    """How often the classifier named the known class, seed by seed, and what it took for what in all of them."""
    lines = []
    for number, seed in zip(run.seed_numbers, run.seeds, strict=True):
        found = figures(seed, "rubric")
        lines.append(
            (number, share(found["agreement"], found["answers"]), f"{found['kappa']:.2f}", f"{found['unreadable']:.3f}")
        )
    counts: dict[str, Counter[str]] = {}
    for seed in run.seeds:
        for name, row in content(seed, "rubric", "confusion.json").items():
            counts.setdefault(name, Counter()).update(row)
    said = list(dict.fromkeys(name for row in counts.values() for name in row))
    return [
        "## The classifier, before anything was optimised on it",
        "",
        *table(("seed", "agreement with the known class", "kappa", "unreadable"), lines),
        "",
        *table(("known class", *said), [(name, *(row[other] for other in said)) for name, row in counts.items()]),
        "",
    ]
