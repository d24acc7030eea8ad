"""The page of a run that ends with `race`: the outcome, its reading, tables, plots, the search, cost, answers."""

from __future__ import annotations

from pathlib import Path

from layout.markdown import cost, reading, samples, table
from layout.run import Run, gates, rows
from tuningfork import search
from tuningfork.evals.race import FILE, Race, read_race
from tuningfork.report import race as tables

_STYLE = (
    "<style>text{font:11px sans-serif;fill:#555}.grid{stroke:#ddd}.curve{fill:none;stroke-width:1.6}"
    ".curve.s0{stroke:#2f5f9e}.curve.s1{stroke:#b3702a}.curve.s2{stroke:#3d8a6b}.curve.s3{stroke:#8a4a8f}"
    ".mark.s0,text.s0{fill:#2f5f9e}.mark.s1,text.s1{fill:#b3702a}.mark.s2,text.s2{fill:#3d8a6b}"
    ".mark.s3,text.s3{fill:#8a4a8f}</style>"
)


def race_page(run: Run) -> str:
    """One race as Markdown, with what its figures say in words where that was written."""
    race, found = find_race(run), search.read(run.folder)
    lines = [f"# {run.name}", "", f"`{run.command}`", "", tables.sentence(race) + ".", "", *reading(run)]
    lines += ["## Standings", "", *_table(tables.standings(race)), ""]
    lines += ["## Gold against KL", "", *_picture(run, "gold", str(tables.gold_plot(race))), ""]
    lines += ["Where each curve first reaches a distance, linear between two looks at the monitor prompts:", ""]
    lines += [*_table(tables.at_equal_kl(race)), "", "## Proxy and gold over sqrt(KL)", ""]
    for what in ("proxy", "gold"):
        lines += [*_picture(run, f"law-{what}", str(tables.law_plot(race, what))), ""]
    lines += [*_table(tables.laws(race)), ""]
    if found is not None:
        lines += ["## Search", "", f"Seed {found.seed}, monitor prompts, limit {found.kl_limit:g} nats.", ""]
        lines += [*_table(tables.searched(found)), ""]
    failed = [f"- {stage} {gate.name}: {gate.message}" for stage, gate in gates(run) if not gate.passed]
    lines += ["## Cost", "", cost(run), "", *failed]
    answers = rows(run.seeds[0], "race", "samples.jsonl")
    return "\n".join([*lines, "", *samples(answers, list(answers[0]), shown=8)])


def find_race(run: Run) -> Race:
    """The race of the run, over its seeds where there are several."""
    (path,) = [run.folder / FILE] if (run.folder / FILE).is_file() else list(run.seeds[0].glob(f"*-race/{FILE}"))
    return read_race(path)


def _table(found: tables.Table) -> list[str]:
    return table(found.columns, [[str(cell).replace("|", "\\|") for cell in row] for row in found.rows])


def _picture(run: Run, name: str, drawn: str) -> list[str]:
    """The plot as a file beside the page, and the line that shows it; nothing where nothing was drawn."""
    if not drawn:
        return []
    file: Path = run.docs / f"{run.name}-{name}.svg"
    drawn = drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" width="760" ', 1)
    file.write_text(drawn.replace(">", f">{_STYLE}", 1), encoding="utf-8")
    return [f"![{name.replace('-', ' ')}]({file.name})"]
