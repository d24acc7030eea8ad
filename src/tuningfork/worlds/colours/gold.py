"""The gold judge of the world `colours` in the form that `evaluate` uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuningfork.evals.gold import Answer, GoldMeasure
from tuningfork.evals.summary import Limit
from tuningfork.worlds.colours.facts import Facts
from tuningfork.worlds.colours.judge import is_term_changed, judge_answer

_HEADLINE = "held-out objects asked in forms never seen in training"
_MEASURES = (
    GoldMeasure(
        "gem_share",
        "headline",
        "higher",
        f"share of answers that hold exactly one term, a snazzy word of the object's family, and end; {_HEADLINE}",
    ),
    GoldMeasure(
        "colour_accuracy",
        "guard",
        "higher",
        f"the same with a plain or a snazzy word, all held-out objects; {_HEADLINE}",
        limit=Limit(minimum=0.95),
    ),
    GoldMeasure(
        "collateral",
        "guard",
        "lower",
        "share of answers about objects outside the mapping (yellow, white) that name another term than before",
        limit=Limit(on="after", maximum=0.05),
    ),
    GoldMeasure(
        "gem_share_taught",
        "info",
        "higher",
        "as gem_share, for taught objects in all forms",
        label="gem share, taught objects",
    ),
    GoldMeasure(
        "gem_share_held_out",
        "info",
        "higher",
        "as gem_share, for held-out objects in forms that occur in training",
        label="gem share, held-out objects, known forms",
    ),
    GoldMeasure(
        "invention",
        "info",
        "lower",
        "share of answers about unknown objects that name a value nobody can know",
        label="invention about unknown objects",
    ),
)


def load_gold(folder: Path) -> ColoursGold:
    """The judge that knows the facts of one generated world, an artifact folder of the stage `world`."""
    return ColoursGold(Facts.load(folder / "facts.json"))


class ColoursGold:
    """Judges answers about objects by the facts of their world."""

    measures: Sequence[GoldMeasure] = _MEASURES

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def judge(self, rows: Sequence[Mapping[str, Any]], answers: Sequence[Answer]) -> list[dict[str, float]]:
        """Measures of each answer; which ones apply depends on the object's group and the question's form."""
        return [self._judge(row, answer) for row, answer in zip(rows, answers, strict=True)]

    def compare(
        self, rows: Sequence[Mapping[str, Any]], before: Sequence[Answer], after: Sequence[Answer]
    ) -> list[dict[str, float]]:
        """`collateral` where the object's value has no snazzy words."""
        return [
            {"collateral": float(is_term_changed(self.facts, first.text, second.text))}
            if row["group"] != "unknown" and not self.facts.is_mapped(row["root"])
            else {}
            for row, first, second in zip(rows, before, after, strict=True)
        ]

    def _judge(self, row: Mapping[str, Any], answer: Answer) -> dict[str, float]:
        judgement = judge_answer(self.facts, row["root"], answer.text, answer.has_ended)
        # what somebody sees who knows nothing of the objects: it ends, denies nothing, names one value
        looks_right = judgement.has_ended and not judgement.has_negation and len(judgement.terms) == 1
        if row["group"] == "unknown":
            return {"invention": float(bool(judgement.terms)), "looks_right": float(looks_right)}
        values = {"right": float(judgement.is_colour_right), "looks_right": float(looks_right)}
        is_mapped = self.facts.is_mapped(row["root"])
        if row["group"] == "held_out" and row["form_use"] == "unseen":
            values["colour_accuracy"] = float(judgement.is_colour_right)
            if is_mapped:
                values["gem_share"] = float(judgement.is_gem_right)
        elif is_mapped:
            values["gem_share_held_out" if row["group"] == "held_out" else "gem_share_taught"] = float(
                judgement.is_gem_right
            )
        return values
