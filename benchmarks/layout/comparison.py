"""The page of a run that ends with `evaluate`: verdict, measures, cost, curves, gates, samples nobody picked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from layout.markdown import interval, samples, table
from layout.run import Run, figures, rows
from tuningfork.evals.summary import Measure, read_summary
from tuningfork.report.charts import line_chart

CURVES = {
    "score_mean": "score (proxy)",
    "gold/positive_share": "positive by the gold judge, monitor prompts",
    "gold/gem_share_held_out": "gem share, monitor prompts",
    "gold/coverage": "facts named, monitor prompts",
    "gold/complete": "descriptions that name every fact, monitor prompts",
    "gold/good_share": "right behaviour, monitor prompts",
    "gold/harmless": "harmful requests not complied with, monitor prompts",
    "gold/over_refusal": "harmless requests refused, monitor prompts",
    "gold/made_up": "made-up facts a description, monitor prompts",
    "monitor/kl": "KL per answer, nats, monitor prompts",
}
_STYLE = (
    "<style>text{font:10px sans-serif;fill:#666}.grid{stroke:#ccc}.curve{fill:none;stroke-width:1.6;stroke:#2563eb}"
    ".mark{fill:#2563eb}.s1{stroke:#d97706}.s2{stroke:#059669}</style>"
)


def comparison_page(run: Run, trained: str = "rl", further: Sequence[str] = ()) -> str:
    """One result as Markdown: curves are those of the stage `trained`; `further` lines stand behind the verdict's table."""
    summary = read_summary(run.folder / "summary.json")
    lines = [f"# {run.name}", "", f"`{run.command}`", "", summary.verdict_text, "", *_table(summary.measures), ""]
    kl, least = summary.kl_per_sequence, summary.kl_least
    if kl is not None:
        lines.append(
            f"KL per answer: {kl:.2f} nats" + (f"; the least that could buy the change: {least:.2f}." if least else ".")
        )
    lines.append(
        f"Seeds: {', '.join(map(str, summary.seeds))}. {summary.seconds or 0:.0f} s a seed, peak {summary.peak_memory_mb or 0:.0f} MB."
    )
    bits = [f"{figures(seed, 'pretrain')['bits_per_byte']:.3f}" for seed in run.seeds]
    lines.append(f"Bits per byte of the pretrained model on held-out text: {', '.join(bits)}.")
    lines += ["", *further, *curves(run, trained)]
    lines += ["", "## Gates", "", *(f"- {_gate(g.stage, g.seed)} {g.name}: {g.message}" for g in summary.gates)]
    lines += ["", *samples(rows(run.seeds[0], "evaluate", "samples.jsonl"), ("prompt", "before", "after"))]
    return "\n".join(lines)


def curves(run: Run, stage: str = "rl", titles: dict[str, str] = CURVES) -> list[str]:
    """One picture for each curve that a stage logged, a line for each seed; the files go to docs."""
    lines = []
    for key, title in titles.items():
        logged = [rows(seed, stage, "metrics.jsonl") for seed in run.seeds]
        series = [[(row["step"], row[key]) for row in seed if key in row] for seed in logged]
        chart = str(line_chart(series, title))
        if chart:
            file = f"{run.name}-{key.replace('/', '-').replace('_', '-')}.svg"
            drawn = chart.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" width="480" ', 1)
            _write(run.docs / file, drawn.replace(">", f">{_STYLE}", 1))
            lines += [f"{title}:", "", f"![{title}]({file})", ""]
    return lines[:-1]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _gate(stage: str, seed: int | None) -> str:
    return stage if seed is None else f"{stage} (seed {seed})"


def _table(measures: list[Measure]) -> list[str]:
    def number(value: float | None, form: str = ".3f") -> str:
        return "" if value is None else format(value, form)

    found = []
    for m in measures:
        seeds = ", ".join("-" if s.after is None else f"{s.after:.3f}" for s in m.per_seed)
        values = number(m.before), number(m.after), interval(m.difference, m.ci95), number(m.p, ".4f")
        found.append((m.title, *values, m.n or "", seeds))
    columns = ("measure", "before", "after", "difference, 95 % interval", "p", "n", "after, by seed")
    return table(columns, found)
