"""Two answers of which one is preferred: prompt/chosen/rejected, or two dialogues with a common beginning."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from tuningfork.data.dialogue import is_dialogue, is_open_dialogue, is_tagged, messages_of, split_messages, split_tagged
from tuningfork.data.fields import CONTEXT, PROMPT, Fields, Variant, is_number, is_text
from tuningfork.data.part import Part, answer_text, prompt_parts
from tuningfork.data.raw import Row, RowFault

SUMMARY = "a prompt, the answer people preferred and the one they did not"

_CHOSEN = ("chosen", "preferred", "better", "winner_response", "chosen_response", "response_j", "positive")
_REJECTED = ("rejected", "dispreferred", "worse", "loser_response", "rejected_response", "response_k", "negative")
_OPEN = ("prompt", "messages", "conversations", "conversation", "history", "context")
_STRENGTH = {
    "strength": (("strength", "margin"), is_number),
    "score_chosen": (("score_chosen", "chosen_score", "chosen_rating"), is_number),
    "score_rejected": (("score_rejected", "rejected_score", "rejected_rating"), is_number),
}


class Preference(TypedDict):
    """Canonical row. `prompt` is a text or messages; a side is a text, or messages where it holds several turns."""

    prompt: str | list[Row]
    chosen: str | list[Row]
    rejected: str | list[Row]
    strength: NotRequired[float]
    extra: NotRequired[Row]


def _given(fields: Fields) -> list[Row]:
    return _row(fields, fields.prompt(), fields.take("chosen"), fields.take("rejected"))


def _messages_after_prompt(fields: Fields) -> list[Row]:
    """Each side is a text, the messages after the prompt, or the whole conversation (as TRL has them)."""
    sides = [_side(fields, role) for role in ("chosen", "rejected")]
    given = fields.read("prompt") if "prompt" in fields else None
    if given is None or any(len(side) > 1 and side[0]["role"] != "assistant" for side in sides):
        prompt, *sides = split_messages(*sides)
        return _row(fields, prompt, *map(_shortest, sides))
    fields.drop("prompt")
    return _row(fields, given if isinstance(given, str) else messages_of(given), *map(_shortest, sides))


def _implicit(fields: Fields) -> list[Row]:
    prompt, chosen, rejected = split_tagged(fields.read("chosen"), fields.read("rejected"))
    fields.drop("chosen")
    fields.drop("rejected")
    return _row(fields, prompt, chosen, rejected)


def _answers(fields: Fields) -> list[Row]:
    chosen, rejected = fields.read("answers")
    fields.drop("answers")
    return _row(fields, fields.prompt(), chosen, rejected)


def _side(fields: Fields, role: str) -> list[Row]:
    value = fields.read(role)
    fields.drop(role)
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    return messages_of([value] if isinstance(value, dict) else value)


def _shortest(messages: list[Row]) -> str | list[Row]:
    """The text of a single assistant message that says nothing else, otherwise the messages."""
    single = len(messages) == 1 and messages[0]["role"] == "assistant" and messages[0].keys() == {"role", "content"}
    return messages[0]["content"] if single else messages


def _row(fields: Fields, prompt: Any, chosen: Any, rejected: Any) -> list[Row]:
    row = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    if "strength" in fields:
        row["strength"] = fields.take("strength")
    elif "score_chosen" in fields and "score_rejected" in fields:
        row["strength"] = fields.read("score_chosen") - fields.read("score_rejected")
    if row.get("strength", 0) < 0:
        raise RowFault(
            f"the strength is {row['strength']:g}: the rejected answer was rated higher; swap the two or drop the row"
        )
    return [row]


def _is_answer(value: Any) -> bool:
    return is_dialogue(value) or (isinstance(value, dict) and "content" in value and "role" in value)


def _is_side(value: Any) -> bool:
    return is_text(value) or _is_answer(value)


def _is_two(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(item, str) for item in value)


def _is_prompt(value: Any) -> bool:
    return is_text(value) or is_open_dialogue(value) or is_dialogue(value)


VARIANTS = (
    Variant(
        "prompt, chosen and rejected",
        {"prompt": (PROMPT, is_text), "chosen": (_CHOSEN, is_text), "rejected": (_REJECTED, is_text)},
        _given,
        {"context": (CONTEXT, is_text), **_STRENGTH},
    ),
    Variant(
        "messages, chosen and rejected",
        {"prompt": (_OPEN, is_open_dialogue), "chosen": (_CHOSEN, _is_side), "rejected": (_REJECTED, _is_side)},
        _messages_after_prompt,
        _STRENGTH,
    ),
    Variant(
        "chosen and rejected messages",
        {"chosen": (_CHOSEN, _is_answer), "rejected": (_REJECTED, _is_answer)},
        _messages_after_prompt,
        {"prompt": (_OPEN, _is_prompt), **_STRENGTH},
    ),
    Variant(
        "two dialogues with an implicit prompt",
        {"chosen": (("chosen",), is_tagged), "rejected": (("rejected",), is_tagged)},
        _implicit,
        _STRENGTH,
    ),
    Variant(
        "two outputs, the better first",
        {"prompt": (PROMPT, is_text), "answers": (("output", "outputs"), _is_two)},
        _answers,
        {"context": (CONTEXT, is_text)},
    ),
)


def parts(row: Row) -> list[Part]:
    """The chosen answer against the rejected one."""
    return [
        *prompt_parts(row["prompt"]),
        Part("chosen", answer_text(row["chosen"]), "target"),
        Part("rejected", answer_text(row["rejected"]), "other"),
    ]
