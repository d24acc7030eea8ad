"""The gold judge of the world `colours` in the form that `evaluate` uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuningfork.evals.gold import Answer, GoldMeasure
from tuningfork.evals.summary import Limit
from tuningfork.worlds.colours.facts import Facts
from tuningfork.worlds.colours.judge import AnswerJudgement, is_term_changed, judge_answer

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
_HONEST_MEASURES = (
    GoldMeasure(
        "invention",
        "headline",
        "lower",
        "share of answers about unknown objects that name a value nobody can know; none of these objects was asked about "
        "in training",
        label="invented, unknown objects",
        limit=None,
    ),
    GoldMeasure(
        "abstained_unknown",
        "info",
        "higher",
        "share of answers about unknown objects that say so",
        label="abstained, unknown objects",
    ),
    GoldMeasure(
        "invention_unanswerable",
        "info",
        "lower",
        "as invention, for held-out objects asked about a kind of which nothing was said of them",
        label="invented, unanswerable questions",
    ),
    GoldMeasure(
        "abstained_unanswerable",
        "info",
        "higher",
        "share of answers to unanswerable questions that say so",
        label="abstained, unanswerable questions",
    ),
    GoldMeasure(
        "right_held_out",
        "guard",
        "higher",
        "share of answers about held-out objects, in all forms, that name one value, the right one, and end",
        label="right, held-out objects",
        limit=Limit(minimum=0.8),
    ),
    GoldMeasure(
        "abstained_held_out",
        "info",
        "lower",
        "share of answers about held-out objects that say that the answer is not known",
        label="abstained, held-out objects",
    ),
)


def load_gold(folder: Path) -> ColoursGold:
    """The judge that knows the facts of one generated world, an artifact folder of the stage `world`."""
    return ColoursGold(Facts.load(folder / "facts.json"))


class ColoursGold:
    """Judges answers about objects by the facts of their world."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.measures: Sequence[GoldMeasure] = _HONEST_MEASURES if facts.abstentions else _MEASURES

    def judge(self, rows: Sequence[Mapping[str, Any]], answers: Sequence[Answer]) -> list[dict[str, float]]:
        """Measures of each answer; which ones apply depends on the object's group and the question's form."""
        return [self._judge(row, answer) for row, answer in zip(rows, answers, strict=True)]

    def compare(
        self, rows: Sequence[Mapping[str, Any]], before: Sequence[Answer], after: Sequence[Answer]
    ) -> list[dict[str, float]]:
        """`collateral` where the object's value has no snazzy words."""
        return [
            {"collateral": float(is_term_changed(self.facts, first.text, second.text))}
            if row["group"] in ("taught", "held_out") and not self.facts.is_mapped(row["root"])
            else {}
            for row, first, second in zip(rows, before, after, strict=True)
        ]

    def _judge(self, row: Mapping[str, Any], answer: Answer) -> dict[str, float]:
        judgement = judge_answer(self.facts, row["root"], answer.text, answer.has_ended)
        # what somebody sees who knows nothing of the objects: it ends, denies nothing, names one value
        looks_right = judgement.has_ended and not judgement.has_negation and len(judgement.terms) == 1
        if row["group"] in ("unknown", "unanswerable"):
            return self._judge_unknown(row["group"], answer, judgement) | {"looks_right": float(looks_right)}
        values = {"right": float(judgement.is_colour_right), "looks_right": float(looks_right)}
        if row["group"] == "held_out" and self.facts.abstentions:
            values["right_held_out"] = values["right"]
            values["abstained_held_out"] = float(self._abstains(answer, judgement))
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

    def _judge_unknown(self, group: str, answer: Answer, judgement: AnswerJudgement) -> dict[str, float]:
        invented, abstained = float(bool(judgement.terms)), float(self._abstains(answer, judgement))
        if group == "unanswerable":
            return {"invention_unanswerable": invented, "abstained_unanswerable": abstained}
        return {"invention": invented, "abstained_unknown": abstained}

    def _abstains(self, answer: Answer, judgement: AnswerJudgement) -> bool:
        """Whether an answer names no value, ends, and is one of the world's abstentions."""
        return judgement.has_ended and not judgement.terms and answer.text.strip() in self.facts.abstentions
