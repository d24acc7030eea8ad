"""What a message holds besides its text: reasoning, tool calls, the name of a tool. And the tools of a conversation.

Public data and templates write these in several ways. Here is one form for each, and what is written in a message is
listed, so that a template that leaves any of it out is found out. Sources: OpenAI's API reference (`tool_calls`, `tools`,
the older `function_call`), transformers' guide "Tool use" (arguments as an object).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tuningfork.errors import DataError

Message = Mapping[str, Any]
"""`{"role", "content"}`, and for an answer `reasoning` (text) and `tool_calls`, for a tool's reply `name`, `tool_call_id`."""

ROLES = ("system", "user", "assistant", "tool")
REASONING = ("reasoning_content", "reasoning", "thinking")
"""Names of the field for what a model thinks before it answers."""
ABOUT_THE_SOURCE = ("original_role", "original_content", "parts")
"""What the reader of a file notes about a message; no template is asked to write it."""
_OF_ROLE = {"assistant": (*REASONING, "tool_calls"), "tool": ("name", "tool_call_id")}

Field = Literal["text", "reasoning", "tool call"]


@dataclass(frozen=True)
class Written:
    """A text that somebody wrote into a message; `in_json` where it stands in an object, as text of JSON."""

    field: Field
    text: str
    in_json: bool = False


def checked_messages(messages: Sequence[Mapping[str, Any]], where: str) -> list[Message]:
    """The messages in the one form; DataError, beginning with `where`, for a field that no template is known to write."""
    return [_checked(message, f"{where}: message {number}") for number, message in enumerate(messages, 1)]


def _checked(message: Mapping[str, Any], where: str) -> Message:
    place = where.rpartition(": message ")[0]
    if not isinstance(message, Mapping) or message.get("role") not in ROLES:
        raise DataError(f"{place}: a message needs a role ({', '.join(ROLES)}) and text under content")
    role, content = message["role"], message.get("content")
    calls = _tool_calls(message.get("tool_calls"), where) if role == "assistant" else []
    if not isinstance(content, str) and not (content is None and calls):
        raise DataError(f"{place}: a message needs a role ({', '.join(ROLES)}) and text under content")
    allowed = {"role", "content", *ABOUT_THE_SOURCE, *_OF_ROLE.get(role, ())}
    more = sorted(name for name in set(message) - allowed if message[name] is not None)
    if more:
        raise DataError(f"{where} has {', '.join(more)}, which is not rendered; remove it")
    found: dict[str, Any] = {"role": role, "content": content or ""}
    thoughts = [name for name in REASONING if message.get(name)] if role == "assistant" else []
    if len(thoughts) > 1 or (thoughts and not isinstance(message[thoughts[0]], str)):
        raise DataError(f"{where}: {' and '.join(thoughts)} must be one text")
    if thoughts:
        found["reasoning"] = message[thoughts[0]]
    if calls:
        found["tool_calls"] = calls
    if role == "tool":
        found |= {name: message[name] for name in ("name", "tool_call_id") if message.get(name) is not None}
    return found


def _tool_calls(calls: Any, where: str) -> list[dict[str, Any]]:
    """Calls as `{"type": "function", "function": {"name", "arguments": object}}`, with their id where there is one."""
    if calls in (None, []):
        return []
    if not isinstance(calls, list):
        raise DataError(f"{where}: tool_calls must be a list")
    found = []
    for call in calls:
        function = call.get("function", call) if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
            raise DataError(f"{where}: a tool call needs a function with a name and arguments")
        arguments = function.get("arguments", {})
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments or "{}")
            except json.JSONDecodeError as error:
                raise DataError(f"{where}: the arguments of {function['name']} are not JSON ({error})") from error
        if not isinstance(arguments, dict):
            raise DataError(f"{where}: the arguments of {function['name']} must be an object")
        id_ = {"id": call["id"]} if call.get("id") is not None else {}
        found.append({**id_, "type": "function", "function": {"name": function["name"], "arguments": arguments}})
    return found


def checked_tools(tools: Any, where: str) -> list[dict[str, Any]]:
    """The tools of a conversation as `{"type": "function", "function": {...}}`; DataError where they are not that."""
    if tools in (None, []):
        return []
    if not isinstance(tools, Sequence) or isinstance(tools, str):
        raise DataError(f"{where}: tools must be a list")
    found = []
    for tool in tools:
        function = tool.get("function", tool) if isinstance(tool, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise DataError(f"{where}: a tool needs a function with a name")
        found.append({"type": "function", "function": dict(function)})
    return found


def has_more(message: Message) -> bool:
    """Whether an answer is more than its text: reasoning or tool calls stand before or behind it."""
    return "reasoning" in message or "tool_calls" in message


def for_template(message: Message, *, arguments_as_text: bool) -> dict[str, Any]:
    """The message as templates read it: reasoning under each of its names, arguments as an object or as text."""
    found = {name: value for name, value in message.items() if name != "reasoning"}
    if "reasoning" in message:
        found |= dict.fromkeys(REASONING, message["reasoning"])
    if "tool_calls" in message and arguments_as_text:
        found["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": _text_of(call["function"]["arguments"])}}
            for call in message["tool_calls"]
        ]
    return found


def _text_of(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def marked(message: Message, mark: Callable[[Written], str], *, arguments_as_text: bool) -> Message:
    """The message with every text that is not blank replaced by `mark` of it."""
    found = dict(message)
    for name, field in (("content", "text"), ("reasoning", "reasoning")):
        if found.get(name, "").strip():
            found[name] = mark(Written(field, found[name]))  # type: ignore[arg-type]
    if "tool_calls" in found:
        found["tool_calls"] = [_marked_call(call, mark, arguments_as_text) for call in found["tool_calls"]]
    return found


def _marked_call(call: Mapping[str, Any], mark: Callable[[Written], str], arguments_as_text: bool) -> dict[str, Any]:
    name, arguments = call["function"]["name"], call["function"]["arguments"]

    def replaced(value: Any) -> Any:
        if isinstance(value, str):
            return mark(Written("tool call", value, in_json=True)) if value.strip() else value
        if isinstance(value, list):
            return [replaced(item) for item in value]
        return {key: replaced(item) for key, item in value.items()} if isinstance(value, dict) else value

    text = mark(Written("tool call", _text_of(arguments))) if arguments_as_text else replaced(arguments)
    return {**call, "function": {"name": mark(Written("tool call", name)), "arguments": text}}


def plain_texts(message: Message) -> Iterator[str]:
    """Texts that are not marked: they must not be taken for control tokens (keys of arguments, names of tools)."""

    def keys(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, item in value.items():
                yield key
                yield from keys(item)
        elif isinstance(value, list):
            for item in value:
                yield from keys(item)

    yield from (str(message[name]) for name in ("name", "tool_call_id") if name in message)
    for call in message.get("tool_calls", ()):
        yield from keys(call["function"]["arguments"])
        yield str(call.get("id", ""))


def tool_texts(tools: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What a template that knows tools has to write of them: names, descriptions, parameters."""
    for tool in tools:
        function = tool["function"]
        yield function["name"]
        if isinstance(function.get("description"), str):
            yield function["description"]
        parameters = function.get("parameters")
        properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
        yield from properties if isinstance(properties, Mapping) else ()
