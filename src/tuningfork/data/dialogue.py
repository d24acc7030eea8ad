"""Conversations in the forms people store them, as `{"role", "content"}` messages. Nothing is guessed: an unknown role is a fault."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from tuningfork.data.fields import describe
from tuningfork.data.raw import Row, RowFault, is_chatml_pieces, is_turn
from tuningfork.model.messages import REASONING

Message = Row
"""`{"role", "content"}` and whatever else the source said about the message."""

ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user", "customer": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatbot": "assistant",
    "ai": "assistant", "chatgpt": "assistant", "function_call": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "ipython": "tool",
}  # fmt: skip
"""Role names of public data sets -> the four roles."""

_ROLE_KEYS, _CONTENT_KEYS = ("role", "from", "speaker"), ("content", "value", "text", "message", "utterance")
_CHATML = re.compile(r"<\|im_start\|>([^\n]*?)(?:\n(.*?))?<\|im_end\|>\n?", re.DOTALL)
_TAGS = re.compile(r"(?:^|\n\n)(Human|Assistant|H|A|User):[ \n]?", re.DOTALL)
_ANSWER = "\n\nAssistant:"


def says_something(message: Row) -> bool:
    """Whether an answer has text or calls a tool."""
    return bool(message["content"].strip() or message.get("tool_calls"))


def message_text(message: Row) -> str:
    """All that a message says, for people: reasoning, text, and tool calls as JSON."""
    thoughts = [message[name] for name in REASONING if isinstance(message.get(name), str) and message[name]]
    calls = [json.dumps(call, ensure_ascii=False) for call in message.get("tool_calls") or ()]
    return "\n".join(text for text in (*thoughts, message["content"], *calls) if text)


def is_dialogue(value: Any) -> bool:
    """Whether a value is a conversation with an assistant turn."""
    return _is_turns(value) and "assistant" in _roles(value)


def is_open_dialogue(value: Any) -> bool:
    """Whether a value is a conversation that waits for an answer: it ends with another turn than the assistant's."""
    return _is_turns(value) and _roles(value)[-1] != "assistant"


def is_turns(value: Any) -> bool:
    """Whether a value is a list of messages, or of texts that take turns."""
    return _is_turns(value) or is_alternation(value)


def is_alternation(value: Any) -> bool:
    """Whether a value is a list of two or more texts, or of [user, assistant] pairs."""
    if not isinstance(value, list) or not value:
        return False
    is_pairs = all(
        isinstance(item, list) and len(item) == 2 and all(isinstance(x, str) for x in item) for item in value
    )
    return is_pairs or (len(value) > 1 and all(isinstance(item, str) for item in value))


def is_history(value: Any) -> bool:
    """Earlier turns: an empty list, pairs, or messages."""
    return value == [] or is_turns(value)


def is_chatml(value: Any) -> bool:
    """Whether a text begins as ChatML."""
    return isinstance(value, str) and value.lstrip().startswith("<|im_start|>")


def is_chatml_list(value: Any) -> bool:
    """Whether a value is ChatML as a list of `{"token": ...}` and strings."""
    return isinstance(value, list) and bool(value) and is_chatml_pieces(value)


def is_tagged(value: Any) -> bool:
    """Whether a text is a dialogue of `Human:` and `Assistant:` paragraphs."""
    return isinstance(value, str) and value.lstrip("\n").startswith("Human:") and _ANSWER in value


def messages_of(value: Sequence[Any]) -> list[Message]:
    """Messages of a list of objects, of texts that take turns beginning with the user, or of [user, assistant] pairs."""
    if all(isinstance(item, list) for item in value):
        value = [text for pair in value for text in pair]
    if all(isinstance(item, str) for item in value):
        return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(value)]
    return [_message(item, number) for number, item in enumerate(value, 1)]


def chatml_messages(text: str) -> list[Message]:
    """Messages of ChatML text; RowFault where something stands outside the markers."""
    messages, end = [], 0
    for match in _CHATML.finditer(text):
        if text[end : match.start()].strip():
            raise RowFault(
                f"ChatML has text between two turns ({text[end : match.start()].strip()[:30]!r}); keep turns between markers"
            )
        header, content = match[1].strip(), match[2] or ""
        role, _, rest = header.partition(" ")
        message: Message = {"role": _role(role, len(messages) + 1), "content": content}
        if rest.startswith("name="):
            message["name"] = rest.removeprefix("name=")
        messages.append(message)
        end = match.end()
    if text[end:].strip() not in ("", "<|im_start|>assistant"):
        raise RowFault("ChatML that does not end with <|im_end|>; the last turn is cut off")
    if not messages:
        raise RowFault("ChatML without a whole turn; a turn is <|im_start|>role, a line end, its text, <|im_end|>")
    return messages


def chatml_pieces_messages(pieces: Sequence[Any]) -> list[Message]:
    """Messages of ChatML given as a list of `{"token": ...}` objects and strings. A marker written in a string is text."""
    messages: list[Message] = []
    held: list[str] | None = None
    for number, piece in enumerate(pieces, 1):
        token, text = (piece["token"], "") if isinstance(piece, dict) else (None, str(piece))
        if token == "<|im_start|>" and held is None:
            held = []
        elif token == "<|im_end|>" and held is not None:
            role, _, content = "".join(held).partition("\n")
            messages.append({"role": _role(role.strip(), len(messages) + 1), "content": content})
            held = None
        elif token is not None:
            raise RowFault(
                f"piece {number} is the token {token!r}, which cannot stand here; turns are <|im_start|> ... <|im_end|>"
            )
        elif held is not None:
            held.append(text)
        elif text.strip():
            raise RowFault(f"piece {number} is text outside a turn ({text.strip()[:30]!r})")
    if held is not None and "".join(held).strip() not in ("", "assistant"):
        raise RowFault("the last turn does not end with <|im_end|>; it is cut off")
    return messages


def tagged_messages(text: str) -> list[Message]:
    """Messages of a dialogue written as `Human:` and `Assistant:` paragraphs."""
    matches = list(_TAGS.finditer(text))
    messages = []
    for match, following in zip(matches, [*matches[1:], None], strict=True):
        content = text[match.end() : following.start() if following else len(text)]
        messages.append({"role": "assistant" if match[1].startswith("A") else "user", "content": content.strip()})
    return messages


def split_tagged(chosen: str, rejected: str) -> tuple[str, str, str]:
    """(prompt, chosen, rejected) of two tagged dialogues with a common beginning, which is the prompt.

    It ends with the last common `Assistant:`; each side is what follows, other turns included. RowFault where they have none.
    """
    same = 0
    for same, (a, b) in enumerate(zip(chosen, rejected, strict=False)):  # noqa: B007
        if a != b:
            break
    else:
        same = min(len(chosen), len(rejected))
    end = chosen.rfind(_ANSWER, 0, same)
    if end < 0:
        raise RowFault(
            "chosen and rejected have no common prompt; both begin with the same turns up to an `Assistant:`"
        )
    end += len(_ANSWER)
    return chosen[:end], chosen[end:], rejected[end:]


def split_messages(
    chosen: Sequence[Message], rejected: Sequence[Message]
) -> tuple[list[Message], list[Message], list[Message]]:
    """(prompt, chosen, rejected) of two conversations: the prompt is their common beginning, up to an assistant turn."""
    same = next(
        (i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), min(len(chosen), len(rejected))
    )
    while same and (same >= min(len(chosen), len(rejected)) or chosen[same]["role"] != "assistant"):
        same -= 1
    if not same:
        raise RowFault("chosen and rejected have no common prompt; both begin with the same turns")
    return list(chosen[:same]), list(chosen[same:]), list(rejected[same:])


def tagged_text(messages: Sequence[Message], *, is_open: bool = False) -> str:
    """Messages as a plain-text dialogue; an open one ends where the assistant is to answer."""
    names = {"user": "Human", "assistant": "Assistant", "system": "System", "tool": "Tool"}
    text = "".join(f"\n\n{names[message['role']]}: {message['content']}" for message in messages)
    return text + _ANSWER if is_open else text


def _is_turns(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(is_turn(item) for item in value)


def _roles(messages: Sequence[Row]) -> list[str]:
    return [ROLES.get(str(next((m[key] for key in _ROLE_KEYS if key in m), "")).lower(), "") for m in messages]


def _role(name: Any, number: int) -> str:
    role = ROLES.get(name.strip().lower()) if isinstance(name, str) else None
    if role is None:
        raise RowFault(f"message {number} has the role {name!r}; known roles are {', '.join(ROLES)}")
    return role


def _message(item: Any, number: int) -> Message:
    if not isinstance(item, dict):
        raise RowFault(f"message {number} is {describe(item)}; a message is an object with role and content")
    role_key = next((key for key in _ROLE_KEYS if key in item), None)
    content_key = next((key for key in _CONTENT_KEYS if key in item), None)
    if role_key is None or (content_key is None and not {"tool_calls", "function_call"} & item.keys()):
        missing = "role" if role_key is None else "content"
        raise RowFault(f"message {number} has no {missing}; it has {', '.join(item) or 'nothing'}")
    content = _content(item.get(content_key), item, number) if content_key else ""
    role = _role(item[role_key], number)
    rest = {key: value for key, value in item.items() if key not in (role_key, content_key) and value is not None}
    if role != item[role_key]:
        rest["original_role"] = item[role_key]
    if content_key and isinstance(item[content_key], list) and len(item[content_key]) > 1:
        rest["parts"] = item[content_key]
    if str(item[role_key]).strip().lower() == "function_call":
        rest |= {"tool_calls": [{"type": "function", "function": _call(content, number)}], "original_content": content}
        content = ""
    elif role == "assistant" and isinstance(rest.get("function_call"), dict):  # the older way of writing one call
        rest["tool_calls"] = [{"type": "function", "function": rest.pop("function_call")}]
    return {"role": role, "content": content, **rest}


def _call(content: str, number: int) -> Row:
    """The call of a message that is one: `{"name", "arguments"}` as JSON."""
    try:
        call = json.loads(content)
    except json.JSONDecodeError as error:
        raise RowFault(f"message {number} is a function_call and not JSON ({error})") from error
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        raise RowFault(
            f"message {number} is a function_call without a name; it is a JSON object with name and arguments"
        )
    return call


def _content(content: Any, item: Row, number: int) -> str:
    if content is None and (item.get("tool_calls") or item.get("function_call")):
        return ""
    if isinstance(content, list) and content and all(isinstance(part, dict) and "type" in part for part in content):
        other = next((part["type"] for part in content if part["type"] != "text"), None)
        if other is not None:
            raise RowFault(f"message {number} holds a part of type {other}; only text is trained on")
        return "".join(str(part.get("text", "")) for part in content)
    if not isinstance(content, str):
        raise RowFault(f"message {number}: content is {describe(content)}; it must be text")
    return content
