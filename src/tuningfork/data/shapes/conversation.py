"""Turns of a user and an assistant: messages, ShareGPT, history, ChatML as text or pieces, Human/Assistant paragraphs."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from tuningfork.data.dialogue import (
    chatml_messages,
    chatml_pieces_messages,
    is_alternation,
    is_chatml,
    is_chatml_list,
    is_dialogue,
    is_history,
    is_open_dialogue,
    is_tagged,
    messages_of,
    tagged_messages,
)
from tuningfork.data.fields import COMPLETION, CONTEXT, PROMPT, Fields, Variant, is_text
from tuningfork.data.part import Part
from tuningfork.data.raw import Row, RowFault

SUMMARY = "a conversation whose assistant turns are learnt"

_TURNS = ("messages", "conversations", "conversation", "turns", "chat", "dialog", "dialogue", "dialogs")
_SYSTEM = ("system", "system_prompt", "system_message")


class Conversation(TypedDict):
    """Canonical row: messages `{"role": system|user|assistant|tool, "content", ...}`, at least one of the assistant."""

    messages: list[Row]
    extra: NotRequired[Row]


def _turns(fields: Fields) -> list[Row]:
    return _conversation(fields, messages_of(fields.read("messages")), "messages")


def _with_history(fields: Fields) -> list[Row]:
    earlier = messages_of(fields.read("history"))
    last = [{"role": "user", "content": fields.prompt()}, {"role": "assistant", "content": fields.take("completion")}]
    return _conversation(fields, earlier + last, "history")


def _with_system(fields: Fields) -> list[Row]:
    turns = [{"role": "user", "content": fields.prompt()}, {"role": "assistant", "content": fields.take("completion")}]
    return _conversation(fields, turns, "")


def _prompt_and_answer(fields: Fields) -> list[Row]:
    answer = fields.read("completion")
    last = [{"role": "assistant", "content": answer}] if isinstance(answer, str) else messages_of(answer)
    fields.drop("completion")
    return _conversation(fields, messages_of(fields.read("prompt")) + last, "prompt")


def _chatml(fields: Fields) -> list[Row]:
    return _conversation(fields, chatml_messages(fields.read("text")), "text")


def _pieces(fields: Fields) -> list[Row]:
    return _conversation(fields, chatml_pieces_messages(fields.read("chatml")), "chatml")


def _tagged(fields: Fields) -> list[Row]:
    return _conversation(fields, tagged_messages(fields.read("text")), "")


def _conversation(fields: Fields, messages: list[Row], source: str) -> list[Row]:
    """The row, where it has something to learn; the system prompt of its own field goes first."""
    if "system" in fields and fields.take("system").strip():
        messages = [{"role": "system", "content": fields.read("system")}, *messages]
    if not any(message["role"] == "assistant" for message in messages):
        raise RowFault("no assistant turn, so nothing to learn from; add one or give the row as a prompt")
    if source:
        fields.drop(source)
    return [{"messages": messages}]


VARIANTS = (
    Variant("messages", {"messages": (_TURNS, is_dialogue)}, _turns, {"system": (_SYSTEM, is_text)}),
    Variant("texts that take turns", {"messages": (_TURNS, is_alternation)}, _turns, {"system": (_SYSTEM, is_text)}),
    Variant(
        "instruction, output and history",
        {"prompt": (PROMPT, is_text), "completion": (COMPLETION, is_text), "history": (("history",), is_history)},
        _with_history,
        {"context": (CONTEXT, is_text), "system": (_SYSTEM, is_text)},
    ),
    Variant(
        "system, instruction and output",
        {"system": (_SYSTEM, is_text), "prompt": (PROMPT, is_text), "completion": (COMPLETION, is_text)},
        _with_system,
        {"context": (CONTEXT, is_text)},
    ),
    Variant(
        "messages as prompt and as completion",
        {"prompt": (("prompt",), is_open_dialogue), "completion": (("completion",), is_dialogue)},
        _prompt_and_answer,
    ),
    Variant(
        "messages and a completion",
        {"prompt": (("prompt", *_TURNS), is_open_dialogue), "completion": (COMPLETION, is_text)},
        _prompt_and_answer,
    ),
    Variant("ChatML text", {"text": (("text", "chatml", "prompt", "content"), is_chatml)}, _chatml),
    Variant("ChatML pieces", {"chatml": (("chatml", *_TURNS), is_chatml_list)}, _pieces),
    Variant("Human and Assistant paragraphs", {"text": (("text", "dialogue", "conversation"), is_tagged)}, _tagged),
)


def parts(row: Row) -> list[Part]:
    """Every assistant turn is trained on."""
    return [
        Part(message["role"], message["content"], "target" if message["role"] == "assistant" else "context")
        for message in row["messages"]
    ]
