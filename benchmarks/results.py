"""The training runs behind docs/results: `make results`. Each run goes to runs/results/<name>; a finished one is kept.

python benchmarks/results.py                  every run
python benchmarks/results.py snazzy           one of them
"""

from __future__ import annotations

import sys
from pathlib import Path

from tuningfork import load_recipe, run
from tuningfork.errors import GateFailed
from tuningfork.evals.summary import Measure, Summary

RUNS: dict[str, tuple[str, list[str]]] = {
    "snazzy": ("snazzy", ["seeds=[0,1,2]"]),
    "snazzy-wide": ("snazzy-wide", []),
    "reviews": ("reviews-local", ["data=../shared/data/imdb"]),
}
DOCS = Path("docs/results")


def main(names: list[str]) -> None:
    """Run what is asked for and write docs/results/<name>.md."""
    for name in names or list(RUNS):
        recipe, overrides = RUNS[name]
        out = Path("runs/results") / name
        try:
            summary = run(load_recipe(recipe, overrides), out=out)
        except GateFailed as error:
            print(f"{name}: {error}")
            continue
        assert summary is not None
        command = " ".join(["tuningfork run", recipe, *overrides])
        (DOCS / f"{name}.md").write_text(page(name, command, summary), encoding="utf-8")
        print(f"{name}: {summary.verdict_text}")


def page(name: str, command: str, summary: Summary) -> str:
    """One result as Markdown: verdict, table of measures, seeds, cost."""
    lines = [f"# {name}", "", f"`{command}`", "", summary.verdict_text, "", *_table(summary.measures), ""]
    kl, least = summary.kl_per_sequence, summary.kl_least
    if kl is not None:
        lines.append(
            f"KL per answer: {kl:.2f} nats" + (f"; the least that could buy the change: {least:.2f}." if least else ".")
        )
    lines.append(
        f"Seeds: {', '.join(map(str, summary.seeds))}. {summary.seconds or 0:.0f} s a seed, peak {summary.peak_memory_mb or 0:.0f} MB."
    )
    lines += ["", "## Gates", "", *(f"- {g.stage} {g.name} (seed {g.seed}): {g.message}" for g in summary.gates)]
    return "\n".join(lines) + "\n"


def _table(measures: list[Measure]) -> list[str]:
    rows = [
        "| measure | before | after | difference, 95 % interval | p | n | after, by seed |",
        "|---|---|---|---|---|---|---|",
    ]
    for m in measures:
        interval = f"{m.difference:+.3f}" if m.difference is not None else ""
        interval += f" [{m.ci95[0]:+.3f}, {m.ci95[1]:+.3f}]" if m.ci95 else ""
        seeds = ", ".join("-" if s.after is None else f"{s.after:.3f}" for s in m.per_seed)
        values = (f"{m.before:.3f}" if m.before is not None else "", f"{m.after:.3f}" if m.after is not None else "")
        p = f"{m.p:.4f}" if m.p is not None else ""
        rows.append(f"| {m.title} | {values[0]} | {values[1]} | {interval} | {p} | {m.n or ''} | {seeds} |")
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
