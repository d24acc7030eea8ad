"""Prompts without an answer to learn: for sampling, reinforcement learning and evaluation."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from tuningfork.data.dialogue import is_open_dialogue, messages_of
from tuningfork.data.fields import CONTEXT, PROMPT, Fields, Variant, is_text
from tuningfork.data.part import Part, prompt_parts
from tuningfork.data.raw import Row

SUMMARY = "prompts without an answer"
IS_FALLBACK = True


class Prompt(TypedDict):
    """Canonical row; a reference answer stays under `extra`, it is not learnt."""

    prompt: str | list[Row]
    extra: NotRequired[Row]


def _prompt(fields: Fields) -> list[Row]:
    return [{"prompt": fields.prompt()}]


def _dialogue(fields: Fields) -> list[Row]:
    messages = messages_of(fields.read("prompt"))
    fields.drop("prompt")
    return [{"prompt": messages}]


VARIANTS = (
    Variant("prompt", {"prompt": (PROMPT, is_text)}, _prompt, {"context": (CONTEXT, is_text)}),
    Variant(
        "messages that wait for an answer",
        {"prompt": (("prompt", "messages", "conversations", "conversation"), is_open_dialogue)},
        _dialogue,
    ),
)


def parts(row: Row) -> list[Part]:
    """Nothing is trained on."""
    return prompt_parts(row["prompt"])
