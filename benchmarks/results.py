"""The training runs behind docs/results: `make results`. Each run goes to runs/results/<name>; a finished one is kept.

python benchmarks/results.py                        every run
python benchmarks/results.py snazzy                 one of them
python benchmarks/results.py reviews --run FOLDER   only the page, of a run that is finished already
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

from tuningfork import load_recipe, run
from tuningfork.errors import GateFailed
from tuningfork.evals.summary import Measure, Summary, read_summary
from tuningfork.report.charts import line_chart

RUNS: dict[str, tuple[str, list[str]]] = {
    "snazzy": ("snazzy", ["seeds=[1,2,3]"]),
    "snazzy-wide": ("snazzy-wide", []),
    "reviews": ("reviews-local", ["data=../shared/data/imdb"]),
    "bleu-gap": ("bleu-gap", ["data=../shared/data/nlg"]),
}
DOCS = Path("docs/results")
CURVES = {
    "score_mean": "score (proxy)",
    "gold/positive_share": "positive by the gold judge, monitor prompts",
    "gold/gem_share_held_out": "gem share, monitor prompts",
    "gold/coverage": "facts named, monitor prompts",
    "gold/complete": "descriptions that name every fact, monitor prompts",
    "gold/made_up": "made-up facts a description, monitor prompts",
    "monitor/kl": "KL per answer, nats, monitor prompts",
}
SHOWN_SAMPLES = 20
_STYLE = (
    "<style>text{font:10px sans-serif;fill:#666}.grid{stroke:#ccc}.curve{fill:none;stroke-width:1.6;stroke:#2563eb}"
    ".mark{fill:#2563eb}.s1{stroke:#d97706}.s2{stroke:#059669}</style>"
)


def main() -> None:
    """Run what is asked for and write docs/results/<name>.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which results; all when empty")
    parser.add_argument("--run", type=Path, help="folder of a finished run to make the page from, for one name")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in RUNS]
    if unknown:
        parser.error(f"no result {unknown[0]!r}; there are {', '.join(RUNS)}")
    if arguments.run and len(arguments.names) != 1:
        parser.error("--run needs the name of one result")
    for name in arguments.names or list(RUNS):
        recipe, overrides = RUNS[name]
        folder = arguments.run or Path("runs/results") / name
        if not arguments.run:
            try:
                run(load_recipe(recipe, overrides), out=folder)
            except GateFailed as error:
                print(f"{name}: {error}")
                continue
        summary = read_summary(folder / "summary.json")
        command = " ".join(["tuningfork run", recipe, *overrides])
        (DOCS / f"{name}.md").write_text(page(name, command, summary, folder), encoding="utf-8")
        print(f"{name}: {summary.verdict_text}")


def page(name: str, command: str, summary: Summary, folder: Path) -> str:
    """One result as Markdown: verdict, table of measures, cost, curves, gates, samples nobody picked."""
    lines = [f"# {name}", "", f"`{command}`", "", summary.verdict_text, "", *_table(summary.measures), ""]
    kl, least = summary.kl_per_sequence, summary.kl_least
    if kl is not None:
        lines.append(
            f"KL per answer: {kl:.2f} nats" + (f"; the least that could buy the change: {least:.2f}." if least else ".")
        )
    lines.append(
        f"Seeds: {', '.join(map(str, summary.seeds))}. {summary.seconds or 0:.0f} s a seed, peak {summary.peak_memory_mb or 0:.0f} MB."
    )
    runs = sorted(folder.glob("seed-*")) or [folder]
    bits = [f"{found:.3f}" for run in runs if (found := _figures(run, "pretrain").get("bits_per_byte")) is not None]
    if bits:
        lines.append(f"Bits per byte of the pretrained model on held-out text: {', '.join(bits)}.")
    lines += ["", *_curves(name, runs)]
    lines += ["", "## Gates", "", *(f"- {_gate(g.stage, g.seed)} {g.name}: {g.message}" for g in summary.gates)]
    return "\n".join([*lines, "", *_samples(runs[0])]) + "\n"


def _gate(stage: str, seed: int | None) -> str:
    return stage if seed is None else f"{stage} (seed {seed})"


def _rows(run_folder: Path, stage: str, file: str) -> list[dict[str, Any]]:
    (path,) = run_folder.glob(f"*-{stage}/{file}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _figures(run_folder: Path, stage: str) -> dict[str, Any]:
    (path,) = run_folder.glob(f"*-{stage}/manifest.json")
    return json.loads(path.read_text(encoding="utf-8"))["figures"]


def _curves(name: str, runs: list[Path]) -> list[str]:
    """One picture for each curve that the RL stages logged, a line for each seed."""
    lines = []
    for key, title in CURVES.items():
        series = [[(row["step"], row[key]) for row in _rows(run, "rl", "metrics.jsonl") if key in row] for run in runs]
        chart = str(line_chart(series, title))
        if chart:
            file = f"{name}-{key.replace('/', '-').replace('_', '-')}.svg"
            drawn = chart.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" width="480" ', 1)
            (DOCS / file).write_text(drawn.replace(">", f">{_STYLE}", 1), encoding="utf-8")
            lines += [f"{title}:", "", f"![{title}]({file})", ""]
    return lines[:-1]


def _samples(run_folder: Path) -> list[str]:
    """Answers to the same prompts before and after, drawn at random with a fixed seed."""
    rows = _rows(run_folder, "evaluate", "samples.jsonl")
    lines = ["## Samples", "", f"{SHOWN_SAMPLES} of {len(rows)}, drawn at random and not picked.", ""]
    lines += ["| prompt | before | after |", "|---|---|---|"]
    for row in random.Random(0).sample(rows, min(SHOWN_SAMPLES, len(rows))):
        lines.append("| " + " | ".join(_cell(row[key]) for key in ("prompt", "before", "after")) + " |")
    return lines


def _cell(text: str) -> str:
    """Text of a model as one Markdown cell that stays text."""
    for old, new in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("`", "\\`"), ("*", "\\*"), ("_", "\\_")):
        text = text.replace(old, new)
    return " ".join(text.split())


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
    main()
