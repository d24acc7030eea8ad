"""The quality of the labels as a page: figures, plots as SVG, alarms, disagreements. Made on the server, for leads."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from sqlalchemy import select

from tuningfork.evals import numbers
from tuningfork.evals.agreement_statistics import Agreement
from tuningfork.feedback import schema
from tuningfork.feedback.answers import Given, read_answers
from tuningfork.feedback.database import Database
from tuningfork.feedback.export import excluded_annotators
from tuningfork.feedback.label_worth import Worth, read_worth
from tuningfork.feedback.quality import Disagreement, Quality, Share, measure
from tuningfork.report import charts
from tuningfork.report.untrusted import show

TEMPLATES = Path(__file__).parent / "templates"
SHOWN_DISAGREEMENTS = 50
_BLOCK = 20
_TEXT = 1500


@dataclass(frozen=True)
class ShownDisagreement:
    """A disagreement with what it is about."""

    found: Disagreement
    prompt: str
    answers: tuple[str, ...]

    @property
    def votes(self) -> list[tuple[str, str]]:
        """(annotator, what was said in words)."""
        return [(name, vote_words(best, strength)) for name, best, strength in self.found.votes]


def quality_of(database: Database) -> tuple[Quality, dict[str, str], list[Given]]:
    """The quality of a project, who is excluded and why, and the judgements it rests on."""
    excluded = excluded_annotators(database)
    with database.read() as connection:
        rows = connection.execute(select(schema.annotators.c.name, schema.annotators.c.kind))
        kinds = {name: kind for name, kind in rows}  # noqa: C416 - rows are not pairs to dict()
    answers = read_answers(database)
    return measure(answers, excluded=excluded, kinds=kinds), excluded, answers


def render_quality(database: Database) -> str:
    """The page as HTML. Everything from people and models is escaped, and hidden characters are shown by name."""
    quality, excluded, answers = quality_of(database)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.finalize = lambda value: value if isinstance(value, Markup) else show(value, limit=_TEXT)
    environment.filters.update(figure=numbers.figure, percent=percent)
    return environment.get_template("quality.html.j2").render(
        quality=quality,
        reasons=excluded,
        disagreements=shown_disagreements(database, quality.disagreements[:SHOWN_DISAGREEMENTS]),
        share_chart=share_chart,
        agreement_chart=agreement_chart,
        agreement_over_time=charts.line_chart([agreement_curve(answers, excluded)], "agreement of two", "comparison"),
        pace_over_time=charts.line_chart(list(pace_curves(answers).values())[:5], "seconds an answer", "answer"),
        pace_names=list(pace_curves(answers))[:5],
        worth=worth_of(database),
        worth_chart=worth_chart,
    )


def percent(value: float | None) -> str:
    """A share in percent; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.0f} %"


def share_chart(share: Share, words: str, reference: float | None = None) -> Markup:
    """A share as a dot with its interval; empty without a case."""
    return Markup("") if share.value is None else charts.share_chart(share.value, share.ci95, words, reference)


def agreement_chart(agreement: Agreement) -> Markup:
    """A coefficient as a dot with its interval; below 0 it stands at 0, and the number beside it says so."""
    if math.isnan(agreement.value):
        return Markup("")
    return charts.share_chart(agreement.value, agreement.ci95, agreement.coefficient)


def agreement_curve(answers: Sequence[Given], excluded: dict[str, str]) -> list[tuple[float, float]]:
    """Share of agreeing comparisons among the latest 50, by number of comparisons of two annotators."""
    votes: dict[str, list[Given]] = {}
    same: list[bool] = []
    for answer in answers:
        if answer.purpose == schema.ORDINARY and answer.annotator not in excluded:
            others = votes.setdefault(answer.item, [])
            same += [answer.best == other.best for other in others]
            others.append(answer)
    return [(float(end), statistics.mean(same[max(0, end - 50) : end])) for end in range(10, len(same) + 1)]


def pace_curves(answers: Sequence[Given]) -> dict[str, list[tuple[float, float]]]:
    """Median seconds of blocks of 20 answers of each annotator, by number of answers; the busiest first."""
    times: dict[str, list[float]] = {}
    for answer in answers:
        if answer.seconds is not None:
            times.setdefault(answer.annotator, []).append(answer.seconds)
    busiest = sorted(times.items(), key=lambda item: (-len(item[1]), item[0]))
    return {
        name: [
            (float(end), statistics.median(seconds[end - _BLOCK : end]))
            for end in range(_BLOCK, len(seconds) + 1, _BLOCK)
        ]
        for name, seconds in busiest
        if len(seconds) >= 2 * _BLOCK
    }


def shown_disagreements(database: Database, found: Sequence[Disagreement]) -> list[ShownDisagreement]:
    """Disagreements with their texts."""
    items = schema.items.c
    rows = select(items.name, items.prompt, items.candidates).where(items.name.in_([one.item for one in found]))
    with database.read() as connection:
        texts = {row.name: (row.prompt, row.candidates) for row in connection.execute(rows)}
    return [
        ShownDisagreement(one, texts[one.item][0], tuple(candidate["text"] for candidate in texts[one.item][1]))
        for one in found
    ]


def vote_words(best: int | str, strength: float) -> str:
    """`answer 1, clearly`, or `tie`."""
    if isinstance(best, str):
        return best
    how = {1: ", slightly", 2: ", clearly", 3: ", strongly"}.get(int(strength), "")
    return f"answer {best + 1}{how}"


def worth_of(database: Database) -> Worth | None:
    """What the labels bought, by the latest round that measured it."""
    rounds = schema.rounds.c
    with database.read() as connection:
        runs = connection.scalars(select(rounds.run).where(rounds.run != "").order_by(rounds.number.desc())).all()
    return next((worth for run in runs if (worth := read_worth(Path(run))) is not None), None)


def worth_chart(worth: Worth) -> Markup:
    """Held-out accuracy by number of labels."""
    return charts.line_chart([worth.curve], "held-out accuracy", "labels")
