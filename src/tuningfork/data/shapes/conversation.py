"""Turns of a user and an assistant: messages, ShareGPT, history, ChatML as text or pieces, Human/Assistant paragraphs."""

from __future__ import annotations

import json
from typing import Any, NotRequired, TypedDict

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
    message_text,
    messages_of,
    tagged_messages,
)
from tuningfork.data.fields import COMPLETION, CONTEXT, PROMPT, Fields, Variant, is_text
from tuningfork.data.part import Part
from tuningfork.data.raw import Row, RowFault

SUMMARY = "a conversation whose assistant turns are learnt"

_TURNS = ("messages", "conversations", "conversation", "turns", "chat", "dialog", "dialogue", "dialogs")
_TOOLS = ("tools", "functions")
_SYSTEM = ("system", "system_prompt", "system_message")


def _is_tools(value: Any) -> bool:
    return isinstance(value, str | list)


class Conversation(TypedDict):
    """Canonical row: messages `{"role": system|user|assistant|tool, "content", ...}`, at least one of the assistant.

    An answer may also hold `tool_calls` and reasoning, the row the `tools` that may be called.
    """

    messages: list[Row]
    tools: NotRequired[list[Row]]
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
    tools = _tools_of(fields)
    return [{"messages": messages, "tools": tools} if tools else {"messages": messages}]


def _tools_of(fields: Fields) -> list[Row]:
    """Tools that are written as a list, or as text of one; an empty list is none."""
    if "tools" not in fields or fields.read("tools") in ([], "", "[]"):
        return []
    if isinstance(fields.read("tools"), list):
        return fields.take("tools")
    try:
        tools = json.loads(fields.read("tools"))
    except json.JSONDecodeError as error:
        raise RowFault(f"tools is text that is not JSON ({error}); write a list of tools") from error
    if not isinstance(tools, list):
        raise RowFault("tools is not a list; write a list of tools")
    return tools


VARIANTS = (
    Variant(
        "messages",
        {"messages": (_TURNS, is_dialogue)},
        _turns,
        {"system": (_SYSTEM, is_text), "tools": (_TOOLS, _is_tools)},
    ),
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
    """Every assistant turn is trained on, with its reasoning and tool calls."""
    return [
        Part(message["role"], message_text(message), "target" if message["role"] == "assistant" else "context")
        for message in row["messages"]
    ]
