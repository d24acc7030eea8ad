"""What the page is told of an item: texts in the order of the screen, and nothing of who wrote them or why they are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping

from tuningfork.data.dialogue import is_tagged, tagged_messages
from tuningfork.feedback.assigning import Assigned

PIECE = 20_000
"""Characters of one text that are sent at a time; the page asks for more."""


def present(assigned: Assigned) -> dict[str, Any]:
    """An item as JSON for the page."""
    candidates = assigned.item["candidates"]
    return {
        "assignment": assigned.id,
        "task": assigned.item["task"],
        "prompt": [turn | piece(turn.pop("text")) for turn in _turns(assigned.item)],
        "answers": [
            piece(candidates[number]["text"]) | {"has_ended": candidates[number].get("has_ended", True)}
            for number in assigned.shown
        ],
    }


def present_judgement(judgement: RowMapping) -> dict[str, Any]:
    """A judgement that was taken back, as the page had sent it."""
    place = {number: place for place, number in enumerate(judgement["shown"])}
    ratings = judgement["ratings"]
    return {
        "ranking": [sorted(place[number] for number in group) for group in judgement["ranking"]],
        "all_bad": judgement["all_bad"],
        "strength": judgement["strength"],
        "ratings": [ratings[number] for number in judgement["shown"]] if ratings else [],
        "note": judgement["note"],
        "edit": judgement["edit"],
    }


def piece(text: str, start: int = 0) -> dict[str, Any]:
    """A part of a text and the length of the whole."""
    return {"text": text[start : start + PIECE], "length": len(text)}


def text_of(assigned: Assigned, part: str, index: int) -> str | None:
    """One text of an item by its place on the screen (`prompt` or `answers`, from 0); None where there is none."""
    texts: Sequence[str] = (
        [turn["text"] for turn in _turns(assigned.item)]
        if part == "prompt"
        else [assigned.item["candidates"][number]["text"] for number in assigned.shown]
    )
    return texts[index] if 0 <= index < len(texts) else None


def _turns(item: RowMapping) -> list[dict[str, Any]]:
    """The prompt as turns; a plain prompt is one turn without a role, one of `Human:` and `Assistant:` paragraphs several."""
    messages = item["messages"]
    if not messages and is_tagged(item["prompt"]):
        messages = tagged_messages(item["prompt"])
        messages = messages[:-1] if messages and not messages[-1]["content"] else messages
    if not messages:
        return [{"role": "", "text": item["prompt"]}]
    return [{"role": str(message["role"]), "text": str(message["content"])} for message in messages]
