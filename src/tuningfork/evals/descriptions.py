"""The gold judge of descriptions: are the facts named, is anything made up, is the language usual? No torch.

It never sees BLEU, which `bleu-gap` optimises, and learns the language from lists of facts that nothing else uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuningfork.data.descriptions import parse_facts
from tuningfork.data.jsonl import read_jsonl
from tuningfork.evals.facts import coverage
from tuningfork.evals.gold import Answer, GoldMeasure
from tuningfork.evals.overlap import rouge
from tuningfork.evals.word_model import WordModel

_MEASURES = (
    GoldMeasure("coverage", "headline", "higher", "share of the facts that the description names", "facts named"),
    GoldMeasure("complete", "info", "higher", "share of descriptions that name every fact", "every fact named"),
    GoldMeasure(
        "made_up",
        "info",
        "lower",
        "slots of a description for which it names only what is not so",
        "made-up facts a description",
    ),
    GoldMeasure("rouge_l", "info", "higher", "ROUGE-L with the most similar reference", "ROUGE-L"),
    GoldMeasure(
        "unusual",
        "info",
        "lower",
        "bits per word by a trigram model of descriptions that nothing else uses, names of places alike",
        "bits per word",
    ),
)


def load_gold(folder: Path) -> DescriptionsGold:
    """The judge that knows the language of one artifact of the stage `descriptions`."""
    rows = read_jsonl(folder / "language.jsonl", required=("facts", "text"))
    return DescriptionsGold(WordModel(_nameless(row["text"], parse_facts(row["facts"])) for row in rows))


class DescriptionsGold:
    """Judges descriptions by the facts and references of their rows."""

    measures: Sequence[GoldMeasure] = _MEASURES

    def __init__(self, language: WordModel) -> None:
        self.language = language

    def judge(self, rows: Sequence[Mapping[str, Any]], answers: Sequence[Answer]) -> list[dict[str, float]]:
        """All measures of each answer."""
        return [self._judge(row, answer.text) for row, answer in zip(rows, answers, strict=True)]

    def compare(
        self, rows: Sequence[Mapping[str, Any]], before: Sequence[Answer], after: Sequence[Answer]
    ) -> list[dict[str, float]]:
        """Nothing is measured of a change."""
        return [{} for _ in rows]

    def _judge(self, row: Mapping[str, Any], text: str) -> dict[str, float]:
        facts = parse_facts(row["facts"])
        named, made_up = coverage(text, facts)
        return {
            "coverage": named,
            "complete": float(named == 1),
            "made_up": float(made_up),
            "rouge_l": rouge("rouge_l", text, row["references"]).f1,
            "unusual": self.language.bits_per_word(_nameless(text, facts)),
        }


def _nameless(text: str, facts: Mapping[str, str]) -> str:
    """The text with the names of its places replaced, so that rare names are not taken for rare language."""
    for slot in ("near", "name"):
        if facts.get(slot):
            text = text.replace(facts[slot], f"{slot}place")
    return text
