"""The rows a teacher made: kept ones as data to train on, dropped ones beside them with the rule that dropped each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tuningfork.asking.asker import Asker, Question
from tuningfork.data.adapters import DEMONSTRATION_SHAPES
from tuningfork.data.jsonl import write_jsonl
from tuningfork.errors import DataError
from tuningfork.teachers.filters import answer_fault
from tuningfork.teachers.settings import AnswerRules

if TYPE_CHECKING:
    from tuningfork.data.reader import Dataset
    from tuningfork.data.reading import ReadingSettings
    from tuningfork.stage import StageContext

DATA, DROPPED = "data.jsonl", "dropped.jsonl"


@dataclass(frozen=True)
class Instruction:
    """An instruction to be answered, and where it came from."""

    id: str
    text: str
    origin: dict[str, Any]


@dataclass
class Harvest:
    """What a stage collects from its teacher."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)

    def drop(self, reason: str, **what: Any) -> None:
        """Put a text aside under the rule that it broke."""
        self.dropped.append({"reason": reason, **what})

    def answer(self, asker: Asker, instructions: Sequence[Instruction], rules: AnswerRules) -> None:
        """Ask for an answer to each instruction and keep those that follow the rules."""
        replies = asker.ask("answer", [Question(one.id, one.text) for one in instructions])
        for one, reply in zip(instructions, replies, strict=True):
            if reply is None:
                self.drop("left_unasked", id=one.id, prompt=one.text)
            elif (fault := answer_fault(one.text, reply, rules)) is not None:
                self.drop(fault, id=one.id, prompt=one.text, completion=reply.text)
            else:
                provenance = one.origin | {"answered_by": asker.provenance("none")}
                self.rows.append(
                    {
                        "prompt": one.text,
                        "completion": reply.text.strip(),
                        "extra": {"id": one.id, "provenance": provenance},
                    }
                )

    def write(self, stage: StageContext, asker: Asker, *, wanted: int, minimum_share: float) -> None:
        """Write `data.jsonl` and `dropped.jsonl`; record the counts, the cost and the gate `rows`."""
        reasons = Counter(row["reason"] for row in self.dropped)
        write_jsonl(stage.out / DATA, self.rows)
        write_jsonl(stage.out / DROPPED, self.dropped)
        stage.figures.update(
            rows=len(self.rows), dropped=len(self.dropped), **{f"dropped_{k}": n for k, n in reasons.items()}
        )
        asker.report()
        why = ", ".join(f"{name} {count:,}" for name, count in reasons.most_common()) or "nothing"
        stage.events.say(f"{len(self.rows):,} rows kept; dropped: {why} (all in {DROPPED})")
        for row in self.rows[:10]:
            stage.sample(prompt=row["prompt"], response=row["completion"])
        stage.gate(
            "rows",
            len(self.rows) >= minimum_share * wanted,
            f"{len(self.rows):,} of {wanted:,} wanted rows (at least {minimum_share:.0%}); dropped: {why}",
        )


def read_prompts(reading: ReadingSettings, source: str) -> list[tuple[str, str]]:
    """(id, text) of the prompts in a file of prompts or of demonstrations. DataError where a prompt is a conversation."""
    data: Dataset = reading.open(source, ("prompts", *DEMONSTRATION_SHAPES))
    found = []
    for number, (place, row) in enumerate(data.placed(), 1):
        prompt = row.get("prompt", row.get("question"))
        if not isinstance(prompt, str):
            raise DataError(f"{place}: the prompt is a conversation; a teacher is asked with prompts of one text")
        extra = row.get("extra")
        found.append((str(extra.get("id", number)) if isinstance(extra, dict) else str(number), prompt))
    if not found:
        raise DataError(f"{source}: no prompts")
    return found
