"""One answer to a prompt, called good or bad (KTO)."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from tuningfork.data.dialogue import is_dialogue, is_open_dialogue, messages_of
from tuningfork.data.fields import COMPLETION, CONTEXT, PROMPT, Fields, Variant, is_text
from tuningfork.data.part import Part, prompt_parts
from tuningfork.data.raw import Row, RowFault

SUMMARY = "an answer that is good or bad"

_FLAG = ("label", "tag", "kto_tag", "desirable", "good", "is_good", "thumb", "thumbs", "feedback", "accepted")
_WORDS = {"good": True, "bad": False, "desirable": True, "undesirable": False, "up": True, "down": False, "thumbs_up": True,
          "thumbs_down": False, "true": True, "false": False, "accepted": True, "rejected": False, "1": True, "0": False}  # fmt: skip


class Unpaired(TypedDict):
    """Canonical row; `label` is true for a good answer."""

    prompt: str | list[Row]
    completion: str
    label: bool
    extra: NotRequired[Row]


def is_flag(value: Any) -> bool:
    """Good or bad: a truth value, 0 or 1, or a word for one."""
    return isinstance(value, bool) or value in (0, 1) or (isinstance(value, str) and value.strip().lower() in _WORDS)


def _label(fields: Fields) -> bool:
    value = fields.read("label")
    if isinstance(value, bool):
        fields.drop("label")
    return _WORDS[value.strip().lower()] if isinstance(value, str) else bool(value)


def _answer(fields: Fields) -> list[Row]:
    prompt = fields.read("prompt")
    prompt = fields.prompt() if isinstance(prompt, str) else messages_of(prompt)
    fields.drop("prompt")
    completion = fields.read("completion")
    if isinstance(completion, str):
        fields.drop("completion")
    else:
        completion = _single(messages_of(completion))
    return [{"prompt": prompt, "completion": completion, "label": _label(fields)}]


def _dialogue(fields: Fields) -> list[Row]:
    messages = messages_of(fields.read("messages"))
    if messages[-1]["role"] != "assistant":
        raise RowFault("the last turn is not the assistant's, so there is no answer to call good or bad")
    if messages[-1].keys() <= {"role", "content", "original_role"}:
        fields.drop("messages")
    return [{"prompt": messages[:-1], "completion": messages[-1]["content"], "label": _label(fields)}]


def _single(messages: list[Row]) -> str:
    if len(messages) != 1:
        raise RowFault(f"the completion holds {len(messages)} messages; one is judged")
    return messages[0]["content"]


def _is_prompt(value: Any) -> bool:
    return is_text(value) or is_open_dialogue(value)


def _is_answer(value: Any) -> bool:
    return is_text(value) or is_dialogue(value)


VARIANTS = (
    Variant(
        "prompt, completion and a label",
        {"prompt": (PROMPT, _is_prompt), "completion": (COMPLETION, _is_answer), "label": (_FLAG, is_flag)},
        _answer,
        {"context": (CONTEXT, is_text)},
    ),
    Variant(
        "messages and a label",
        {"messages": (("messages", "conversations", "conversation"), is_dialogue), "label": (_FLAG, is_flag)},
        _dialogue,
    ),
)


def parts(row: Row) -> list[Part]:
    """The answer, wanted or unwanted."""
    name, kind = ("good", "target") if row["label"] else ("bad", "other")
    return [*prompt_parts(row["prompt"]), Part(name, row["completion"], kind)]
