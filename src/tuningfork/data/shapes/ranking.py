"""K answers to one prompt, ordered, scored or compared in pairs; ties are kept as ties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

from tuningfork.data.dialogue import is_dialogue, is_open_dialogue, messages_of, split_messages
from tuningfork.data.fields import (
    PROMPT,
    Fields,
    Variant,
    checked_text,
    is_label,
    is_number,
    is_numbers,
    is_objects,
    is_text,
    is_texts,
)
from tuningfork.data.part import Part, prompt_parts
from tuningfork.data.raw import Row, RowFault

SUMMARY = "several answers to one prompt, ranked"

_ANSWERS = ("answers", "responses", "completions", "outputs", "candidates", "replies")
_ORDERED = ("ranked", "ranking", "ranked_responses", "ranked_answers", "ordered")
_TEXT_KEYS = ("text", "response", "answer", "output", "content", "completion")
_SCORE_KEYS = ("score", "overall_score", "rating", "reward", "human_score")
_TWO = (
    ("response_1", "response_2"), ("output_1", "output_2"), ("answer_1", "answer_2"), ("completion_1", "completion_2"),
    ("response_a", "response_b"), ("answer_a", "answer_b"), ("human_ref_a", "human_ref_b"), ("completion_a", "completion_b"),
    ("response_0", "response_1"), ("answer_0", "answer_1"), ("output_0", "output_1"), ("completion_0", "completion_1"),
)  # fmt: skip
_WHO = (
    "preferred",
    "winner",
    "preference",
    "better_response_id",
    "better",
    "label",
    "labels",
    "choice",
    "chosen",
    "overall_preference",
)
_TIES = {"tie", "both", "equal", "same", "draw", "tie (bothbad)", "bothbad", "neither", "both_bad"}


class Ranking(TypedDict):
    """Canonical row: `ranks[i]` is the place of `answers[i]`, 1 best, equal places tied; or else `comparisons`.

    A comparison is [better, worse, 1], or [one, another, 0] for a tie; they need not agree with each other.
    """

    prompt: str | list[Row]
    answers: list[str]
    ranks: NotRequired[list[int]]
    comparisons: NotRequired[list[list[int]]]
    extra: NotRequired[Row]


def _ranked(fields: Fields) -> list[Row]:
    return [_row(fields, fields.take("answers"), ranks=[int(rank) for rank in fields.take("ranks")])]


def _scored(fields: Fields) -> list[Row]:
    return [_row(fields, fields.take("answers"), ranks=ranks_of_scores(fields.read("scores")))]


def _ordered(fields: Fields) -> list[Row]:
    answers = fields.read("answers")
    fields.drop("answers")
    return [_row(fields, answers, ranks=list(range(1, len(answers) + 1)))]


def _objects(fields: Fields) -> list[Row]:
    answers = fields.read("answers")
    texts = [
        checked_text(_first(item, _TEXT_KEYS), f"the text of answer {number}") for number, item in enumerate(answers, 1)
    ]
    ranks = [item.get("rank") for item in answers]
    if not all(is_number(rank) for rank in ranks):
        scores = [_first(item, _SCORE_KEYS) for item in answers]
        if not all(is_number(score) for score in scores):
            raise RowFault("an answer has neither rank nor score; give every answer one")
        ranks = ranks_of_scores(scores)
    return [_row(fields, texts, ranks=[int(rank) for rank in ranks])]  # type: ignore[arg-type]


def _compared(fields: Fields) -> list[Row]:
    answers, comparisons = fields.take("answers"), fields.read("comparisons")
    if is_objects(comparisons):
        return [_row(fields, answers, comparisons=[_comparison(item, len(answers)) for item in comparisons])]
    if not all(number in range(len(answers)) for better, worse, _ in comparisons for number in (better, worse)):
        raise RowFault(f"a comparison names an answer beyond the {len(answers)} there are; they count from 0")
    fields.drop("comparisons")
    return [_row(fields, answers, comparisons=comparisons)]


def _comparison(item: Row, count: int) -> list[int]:
    first, second, who = item.get("a"), item.get("b"), str(item.get("preferred")).lower()
    if not (isinstance(first, int) and isinstance(second, int) and 0 <= first < count and 0 <= second < count):
        raise RowFault(f"a comparison of answers {first} and {second}: a and b are numbers from 0 to {count - 1}")
    if who in _TIES:
        return [first, second, 0]
    if who not in ("a", "b"):
        raise RowFault(f"a comparison prefers {who!r}; it must be a, b or tie")
    return [first, second, 1] if who == "a" else [second, first, 1]


def _two(first: str, second: str) -> Any:
    """The parser of two named answers and a field that says which is better."""

    def parse(fields: Fields) -> list[Row]:
        ranks = _place(fields.read("who"), first, second)
        if "score_1" in fields and "score_2" in fields and fields.found["who"].lower() == "labels":
            fields.drop("who")
        return [_row(fields, [fields.take("first"), fields.take("second")], ranks=ranks)]

    return parse


def _two_scored(fields: Fields) -> list[Row]:
    ranks = ranks_of_scores([fields.read("score_1"), fields.read("score_2")])
    return [_row(fields, [fields.take("first"), fields.take("second")], ranks=ranks)]


def _arena(fields: Fields) -> list[Row]:
    prompt, *sides = split_messages(messages_of(fields.read("first")), messages_of(fields.read("second")))
    texts = ["\n\n".join(message["content"] for message in side) for side in sides]
    ranks = _place(fields.read("who"), "conversation_a", "conversation_b")
    return [{"prompt": prompt, "answers": texts, "ranks": ranks}]


def _judged(fields: Fields) -> list[Row]:
    candidates, groups = fields.read("candidates"), fields.read("ranking")
    texts = [
        checked_text(candidate.get("text"), f"the text of candidate {n}") for n, candidate in enumerate(candidates, 1)
    ]
    placed = [(number, place) for place, group in enumerate(groups, 1) for number in group]
    if len({number for number, _ in placed}) < len(placed) or not all(
        number in range(len(texts)) for number, _ in placed
    ):
        raise RowFault(f"the ranking {groups} must name candidates from 0 to {len(texts) - 1}, none of them twice")
    return [_row(fields, [texts[number] for number, _ in placed], ranks=[place for _, place in placed])]


def _row(fields: Fields, answers: list[str], **order: Any) -> Row:
    prompt = fields.read("prompt")
    fields.drop("prompt")
    if len(answers) < 2:
        raise RowFault("a ranking needs two answers or more")
    if "ranks" in order and len(order["ranks"]) != len(answers):
        raise RowFault(f"{len(answers)} answers and {len(order['ranks'])} ranks or scores; each answer needs one")
    return {"prompt": prompt if isinstance(prompt, str) else messages_of(prompt), "answers": answers, **order}


def ranks_of_scores(scores: Sequence[float]) -> list[int]:
    """Places by falling score, 1 best; equal scores share a place."""
    order = sorted(set(scores), reverse=True)
    return [order.index(score) + 1 for score in scores]


def _place(who: Any, first: str, second: str) -> list[int]:
    """Ranks of two answers from the word that says which is better: its name, its number, letter or `tie`."""
    word = str(who).strip().lower().replace(" ", "_")
    if word in {tie.replace(" ", "_") for tie in _TIES}:
        return [1, 1]
    one, two = first.rpartition("_")[2], second.rpartition("_")[2]
    if (one, two) == ("a", "b") and word in ("1", "0", "1.0", "0.0"):  # SHP: labels 1 means the first
        return [1, 2] if word.startswith("1") else [2, 1]
    for names, ranks in (((first, one, f"model_{one}"), [1, 2]), ((second, two, f"model_{two}"), [2, 1])):
        if word in names or word.removesuffix(".0") in names:
            return ranks
    raise RowFault(f"{who!r} does not say which answer is better; write {one}, {two} or tie")


def _first(item: Row, keys: Sequence[str]) -> Any:
    return next((item[key] for key in keys if item.get(key) is not None), None)


def _is_groups(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(group, list) for group in value)


def _is_comparisons(value: Any) -> bool:
    if isinstance(value, list) and value and all(is_numbers(item) and len(item) == 3 for item in value):
        return True
    return is_objects(value) and all({"a", "b", "preferred"} <= item.keys() for item in value)


def _is_prompt(value: Any) -> bool:
    return is_text(value) or is_open_dialogue(value)


_PROMPT = {"prompt": ((*PROMPT, "history", "post", "messages"), _is_prompt)}

VARIANTS = (
    Variant(
        "answers and ranks",
        {**_PROMPT, "answers": (_ANSWERS, is_texts), "ranks": (("ranks", "rank"), is_numbers)},
        _ranked,
    ),
    Variant(
        "answers and comparisons",
        {**_PROMPT, "answers": (_ANSWERS, is_texts), "comparisons": (("comparisons",), _is_comparisons)},
        _compared,
    ),
    Variant(
        "answers and scores",
        {**_PROMPT, "answers": (_ANSWERS, is_texts), "scores": (("scores", "ratings", "rewards"), is_numbers)},
        _scored,
    ),
    Variant("answers, best first", {**_PROMPT, "answers": (_ORDERED, is_texts)}, _ordered),
    Variant("answers with rank or score", {**_PROMPT, "answers": (_ANSWERS, is_objects)}, _objects),
    Variant(
        "a judgement",
        {**_PROMPT, "candidates": (("candidates",), is_objects), "ranking": (("ranking",), _is_groups)},
        _judged,
    ),
    *(
        Variant(
            f"{first}, {second} and which is better",
            {**_PROMPT, "first": ((first,), is_text), "second": ((second,), is_text), "who": (_WHO, is_label)},
            _two(first, second),
        )
        for first, second in _TWO
    ),
    *(
        Variant(
            f"{first} and {second} with scores",
            {
                **_PROMPT,
                "first": ((first,), is_text),
                "second": ((second,), is_text),
                "score_1": ((f"score_{first[-1]}",), is_number),
                "score_2": ((f"score_{second[-1]}",), is_number),
            },
            _two_scored,
        )
        for first, second in _TWO
    ),
    Variant(
        "two conversations and which is better",
        {
            "first": (("conversation_a",), is_dialogue),
            "second": (("conversation_b",), is_dialogue),
            "who": (_WHO, is_label),
        },
        _arena,
    ),
)


def parts(row: Row) -> list[Part]:
    """The answers with their places; the best ones are what is preferred."""
    ranks = row.get("ranks") or places_of(row["comparisons"], len(row["answers"]))
    answers = zip(row["answers"], ranks, strict=True)
    return prompt_parts(row["prompt"]) + [
        Part(f"place {rank}", text, "target" if rank == 1 else "other") for text, rank in answers
    ]


def places_of(comparisons: Sequence[Sequence[int]], count: int) -> list[int]:
    """Places by comparisons won less comparisons lost (Copeland), 1 best; comparisons may contradict each other."""
    wins = [0] * count
    for better, worse, strength in comparisons:
        wins[better] += strength
        wins[worse] -= strength
    return ranks_of_scores(wins)
