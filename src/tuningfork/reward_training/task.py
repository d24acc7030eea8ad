"""What every kind of feedback gives the stage `reward`, and what they share: a split by root, no overlap, what fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tuningfork.data.duplicates import fingerprint
from tuningfork.errors import DataError, RecipeError
from tuningfork.evals.feedback import Compared
from tuningfork.randomness import derive_seed, numpy_generator, uniforms
from tuningfork.reward.base import Item
from tuningfork.streams.judgements import JudgedText

if TYPE_CHECKING:
    from tuningfork.data.reader import Dataset
    from tuningfork.data.reward_inputs import PlainAnswer, RewardInputs, TokenizedAnswer
    from tuningfork.model.reward_model import RewardModel
    from tuningfork.stage import StageContext

T = TypeVar("T")


@dataclass
class HeldOut:
    """Feedback that is not trained on. `comparisons` name answers by their numbers."""

    items: list[Item] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)
    """what each answer's prompt was made from"""
    comparisons: list[Compared] = field(default_factory=list)
    ratings: list[float] = field(default_factory=list)
    """how each answer was rated; empty where answers were only compared"""

    def add(self, item: Item, root: str) -> int:
        """The number of a new answer."""
        self.items.append(item)
        self.roots.append(root)
        return len(self.items) - 1


class Task(Protocol):
    """One kind of feedback."""

    num_rows: int
    """what one epoch trains on"""
    heldout: HeldOut
    words: list[tuple[str, str, str]]
    """(prompt, better, worse) or (prompt, text, "") of what is trained on, for baselines of words"""

    def stream(self, reward_model: RewardModel, seed: int) -> Any:
        """Batches for the loop."""
        ...

    def measure(self, models: Sequence[RewardModel]) -> None:
        """Figures and gates of this kind of feedback, on scores as the heads give them; the means of an ensemble's."""
        ...


def is_heldout(seed: int, root: str, share: float) -> bool:
    """Whether a root's feedback is held out; the stages `reward` and `preference` hold out the same roots."""
    return float(uniforms([derive_seed(seed, "holdout", root)], 0)[0]) < share


def split(
    stage: StageContext, settings: Any, rows: Sequence[T], unseen: Sequence[T] | None, root: Callable[[T], str]
) -> tuple[list[T], list[T]]:
    """Rows to train on and held-out ones: by root, or those of a file of their own."""
    if unseen is not None:
        return list(rows), list(unseen)
    held = [is_heldout(stage.seed, root(row), settings.holdout_share) for row in rows]
    train = [row for row, is_held in zip(rows, held, strict=True) if not is_held]
    return train, [row for row, is_held in zip(rows, held, strict=True) if is_held]


def without_overlap(
    settings: Any, train: list[T], heldout: Sequence[T], text: Callable[[T], str], what: str
) -> list[T]:
    """The rows to train on; DataError where held-out ones are among them, or without those where `overlap` says `drop`."""
    keys = {fingerprint(text(row)) for row in heldout if text(row).strip()}
    kept = [row for row in train if fingerprint(text(row)) not in keys]
    if len(kept) < len(train) and settings.overlap == "refuse":
        example = next(text(row) for row in train if fingerprint(text(row)) in keys)
        raise DataError(
            f"{len(train) - len(kept):,} of {len(train):,} rows to train on share their {what} with held-out ones, for example "
            f"{example.strip()[:60]!r}: accuracy on them would be memory. Give them one root, or say overlap: drop"
        )
    return kept


def limited(stage: StageContext, rows: Sequence[T], most: int | None, item: Callable[[T], Any] = id) -> list[T]:
    """Rows of at most `most` items, drawn by seed, in their order; without `item` each row is one."""
    items = list(dict.fromkeys(map(item, rows)))
    if most is None or len(items) <= most:
        return list(rows)
    chosen = numpy_generator(stage.seed, "drawn rows").choice(len(items), most, replace=False)
    kept = {items[index] for index in chosen.tolist()}
    return [row for row in rows if item(row) in kept]


def both_or_error(train: Sequence[Any], heldout: Sequence[Any], what: str) -> None:
    """DataError where there is nothing to train on or nothing to measure on."""
    if not train or not heldout:
        raise DataError(
            f"{len(train)} {what} to train on and {len(heldout)} held out: give {what} of more roots, another "
            "holdout_share, or a file of its own as heldout"
        )


def heldout_data(stage: StageContext, settings: Any, accept: Sequence[str]) -> Dataset | None:
    """The rows of the setting `heldout`; None where it is not set."""
    return settings.reading.open(stage.inputs["heldout"].reference, accept) if settings.heldout else None


@dataclass
class Fitting:
    """Answers as ids that fit the model; what does not is counted."""

    inputs: RewardInputs
    reads_response: bool
    dropped: dict[str, int] = field(default_factory=lambda: {"too_long": 0, "empty": 0})

    def encode(self, answers: Sequence[PlainAnswer]) -> list[JudgedText | None]:
        """Ids of each answer, None where it is too long, or empty for a pooling over the response."""
        return [self.fit(answer) for answer in self.inputs.encode(answers)]

    def fit(self, answer: TokenizedAnswer) -> JudgedText | None:
        """The same for an answer that is ids already."""
        if not answer.response and (self.reads_response or not answer.prompt):
            self.dropped["empty"] += 1
            return None
        fitted = self.inputs.fit(answer)
        if fitted is None:
            self.dropped["too_long"] += 1
            return None
        return JudgedText(list(fitted.prompt), list(fitted.response))

    def report(self, stage: StageContext) -> None:
        """Say and record what was left out or cut."""
        counts = {f"dropped_{name}": count for name, count in self.dropped.items()} | {"cut_prompts": self.inputs.cut}
        stage.figures.update(counts)
        if any(counts.values()):
            stage.events.say(
                ", ".join(f"{name.replace('_', ' ')}: {count:,}" for name, count in counts.items() if count)
            )


def item_of(text: JudgedText, prompt: str, response: str) -> Item:
    """The answer as a reward gets it, with the ids that were fitted."""
    return Item(prompt, response, {}, text.prompt, text.response)


def random_pairs(seed: int, values: Sequence[float], per_text: int, least: float) -> list[tuple[int, int]]:
    """(better, worse) numbers of texts: each with others drawn at random whose value differs by more than `least`."""
    draws = numpy_generator(seed, "pairs of rated texts")
    found: dict[tuple[int, int], None] = {}
    for first in range(len(values)):
        for second in draws.integers(len(values), size=per_text).tolist():
            if abs(values[first] - values[second]) > least:
                found[(first, second) if values[first] > values[second] else (second, first)] = None
    return list(found)


def standardiser(values: Iterable[float]) -> tuple[float, float]:
    """Mean and deviation of ratings; DataError where they do not differ."""
    from statistics import fmean, pstdev

    known = list(values)
    deviation = pstdev(known) if len(known) > 1 else 0.0
    if not deviation > 0:
        raise DataError(f"{len(known)} ratings, all the same: there is nothing to learn")
    return fmean(known), deviation


def label_value(label: Any, values: dict[str, float]) -> float:
    """How good a label says a text is, from 0 to 1: by `values`, `pos` and `neg`, truth values or numbers in [0, 1]."""
    named = {"pos": 1.0, "positive": 1.0, "neg": 0.0, "negative": 0.0} | {k.lower(): v for k, v in values.items()}
    if str(label).lower() in named:
        return named[str(label).lower()]
    if isinstance(label, int | float) and 0 <= label <= 1:
        return float(label)
    raise DataError(
        f"label {label!r} is neither pos or neg nor a number from 0 to 1; say how good it is: "
        f"labels: {{values: {{{label}: 1}}}}, or ratings: {{}} where labels are numbers of another scale"
    )


def needs_heldout(settings: Any, what: str) -> None:
    """RecipeError where there is no file to measure on."""
    if settings.heldout is None:
        raise RecipeError(f"{what} need heldout: a file of {what} to measure on")
