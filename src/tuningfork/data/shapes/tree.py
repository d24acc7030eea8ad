"""OpenAssistant message trees, nested or as a table of messages; they become conversations and rankings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NotRequired, TypedDict

from tuningfork.data.fields import Fields, Variant, is_objects, is_text
from tuningfork.data.part import Part
from tuningfork.data.raw import Raw, Row, RowFault

SUMMARY = "a tree of messages with ranked replies"

_ROLES = {"prompter": "user", "user": "user", "assistant": "assistant"}
_DEEPEST = 200


class Message(TypedDict):
    """One message: `rank` is its place among its siblings from 0, null where nobody ranked them."""

    role: str
    content: str
    rank: int | None
    replies: list[Message]


class Tree(TypedDict):
    """Canonical row: the first prompt with everything below it."""

    tree: Message
    extra: NotRequired[Row]


def _nested(fields: Fields) -> list[Row]:
    return [{"tree": message_of(fields.read("tree"))}]


def _canonical(fields: Fields) -> list[Row]:
    return [{"tree": message_of(fields.take("tree"))}]


def message_of(node: Row, depth: int = 0) -> Message:
    """A node with all below it; RowFault for a wrong role, a missing text, or a tree deeper than 200."""
    if depth > _DEEPEST:
        raise RowFault(f"a tree deeper than {_DEEPEST} messages; a message may be its own ancestor")
    role, content = _ROLES.get(str(node.get("role"))), node.get("text", node.get("content"))
    if role is None or not isinstance(content, str):
        raise RowFault(
            f"a message at depth {depth} needs the role prompter or assistant and a text; it has {', '.join(node)}"
        )
    rank = node.get("rank")
    replies = [message_of(reply, depth + 1) for reply in node.get("replies") or ()]
    return {"role": role, "content": content, "rank": rank if isinstance(rank, int) else None, "replies": replies}


def _is_root(value: Any) -> bool:
    return isinstance(value, dict) and "replies" in value and "role" in value


def _message_row(fields: Fields) -> list[Row]:
    raise AssertionError(f"rows of a message table are gathered before they are parsed: {fields.row}")


VARIANTS = (
    Variant("a nested tree", {"tree": (("prompt",), _is_root)}, _nested),
    Variant("a canonical tree", {"tree": (("tree",), _is_root)}, _canonical),
    Variant(
        "a table of messages",
        {"id": (("message_id",), is_text), "role": (("role",), is_text), "text": (("text",), is_text)},
        _message_row,
        {"parent": (("parent_id",), is_text), "replies": (("replies",), is_objects)},
    ),
)


def gather(raws: Iterable[Raw]) -> Iterator[Raw]:
    """Rows of a message table as nested trees, in the order of their first message; other rows pass.

    All messages are held in memory. A message whose parent is missing is a fault.
    """
    nodes: dict[str, Raw] = {}
    for raw in raws:
        if raw.row is None or "message_id" not in raw.row or "prompt" in raw.row:
            yield raw
        else:
            nodes[raw.row["message_id"]] = Raw(raw.place, {**raw.row, "replies": []})
    for raw in nodes.values():
        parent = raw.row.get("parent_id") if raw.row else None
        if raw.row and parent in nodes:
            nodes[parent].row["replies"].append(raw.row)  # type: ignore[index]
        elif parent is not None:
            yield Raw(raw.place, None, f"the parent {parent} is not in the file; give whole trees")
    for raw in nodes.values():
        if raw.row and raw.row.get("parent_id") is None:
            yield Raw(raw.place, {"message_tree_id": raw.row.get("message_tree_id"), "prompt": raw.row})


def conversations(row: Row) -> Iterator[Row]:
    """The best conversation of a tree: of ranked siblings the first, of others the first written; ends with the assistant."""
    messages, node = [], row["tree"]
    while node is not None:
        messages.append({"role": node["role"], "content": node["content"]})
        node = min(node["replies"], key=_order, default=None)
    while messages and messages[-1]["role"] != "assistant":
        messages.pop()
    if messages:
        yield {"messages": messages}


def rankings(row: Row) -> Iterator[Row]:
    """Every message with two or more ranked replies of the assistant, with the messages before it as the prompt."""
    pending: list[tuple[list[Row], Message]] = [([], row["tree"])]
    while pending:
        before, node = pending.pop()
        prompt = [*before, {"role": node["role"], "content": node["content"]}]
        ranked = [reply for reply in node["replies"] if reply["role"] == "assistant" and reply["rank"] is not None]
        if len(ranked) > 1:
            yield {
                "prompt": prompt,
                "answers": [r["content"] for r in ranked],
                "ranks": [(r["rank"] or 0) + 1 for r in ranked],
            }
        pending.extend((prompt, reply) for reply in reversed(node["replies"]))


def _order(message: Message) -> float:
    return message["rank"] if message["rank"] is not None else float("inf")


def parts(row: Row) -> list[Part]:
    """The best conversation, its assistant turns trained on."""
    best = next(conversations(row), {"messages": [row["tree"]]})
    return [
        Part(message["role"], message["content"], "target" if message["role"] == "assistant" else "context")
        for message in best["messages"]
    ]
