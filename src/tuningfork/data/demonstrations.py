"""Demonstrations for supervised fine-tuning: prompt and completion, or a conversation in the tokenizer's template."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tuningfork.data.rendering import LossOn, Renderer
from tuningfork.data.rows import TokenRow, prompt_completion_rows
from tuningfork.errors import DataError
from tuningfork.model.messages import REASONING
from tuningfork.model.templates import THINKS, learns_reasoning, template_text

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone

TooLong = Literal["refuse", "skip"]
Refuse = Callable[[str, str], None]
"""Takes the place of a row that cannot be learnt from, and why; `Dataset.refuse` counts it, or stops where it is strict."""
_COMPARED = 200


@dataclass(frozen=True)
class Demonstrations:
    """Token rows, and what was done to make them.

    Example: Demonstrations(rows, is_chat=True, num_skipped=3, notes=("3 of 90 rows are longer ...",))
    """

    rows: list[TokenRow]
    is_chat: bool
    num_skipped: int
    notes: tuple[str, ...]
    accepted: list[int]
    """numbers, from 0, of the rows that could be rendered, however long"""


def read_demonstrations(
    backbone: Backbone,
    rows: Sequence[Mapping[str, Any]],
    source: str,
    *,
    loss_on: LossOn = "all",
    too_long: TooLong = "refuse",
    places: Sequence[str] = (),
    limit: int | None = None,
    refuse: Refuse | None = None,
) -> Demonstrations:
    """Token rows of `{"prompt", "completion"}` or `{"messages": [{"role", "content"}, ...]}` rows, in order.

    `places` says where each row stands; without it a fault is at "source, row N". The targets are the completion and its
    EOS, or the answers (all, or the last) and what ends each. A conversation that the chat template refuses goes to `refuse`.
    DataError for what cannot be used, and for a row longer than the context (or `limit` tokens, where that is less) unless
    such rows are skipped; nothing is ever cut.
    """
    is_chat = is_conversations(rows)
    places = places or _numbered(source, len(rows))
    renderer = renderer_for(backbone, rows) if is_chat else None
    numbered = numbered_rows(backbone, rows, source, renderer=renderer, loss_on=loss_on, places=places, refuse=refuse)
    accepted, found = [number for number, _ in numbered], [row for _, row in numbered]
    notes = [*renderer.notes, *_differences(renderer, [rows[number] for number in accepted])] if renderer else []
    what, most = "the model's context", backbone.max_length
    if limit is not None and limit < most:
        what, most = "a packed row", limit
    kept = [row for row in found if len(row.ids) <= most]
    num_skipped = len(found) - len(kept)
    if num_skipped and too_long == "refuse":
        number, row = next((n, r) for n, r in numbered if len(r.ids) > most)
        raise too_long_error(places[number], len(row.ids), what, most, f" ({num_skipped:,} of {len(found):,})")
    if found and not kept:
        raise DataError(f"{source}: every row is longer than {what} of {most} tokens")
    if num_skipped:
        notes.append(f"{num_skipped:,} of {len(found):,} rows are longer than {most} tokens and skipped")
    return Demonstrations(kept, is_chat, num_skipped, tuple(notes), accepted)


def too_long_error(place: str, length: int, what: str, most: int, how_many: str = "") -> DataError:
    """A row that does not fit into the context, or into a packed row."""
    return DataError(
        f"{place}: {length} tokens, {what} holds {most}; shorten it, or skip such rows{how_many} with `too_long: skip`"
    )


def demonstration_rows(
    backbone: Backbone, rows: Sequence[Mapping[str, Any]], source: str, *, places: Sequence[str] = ()
) -> list[TokenRow]:
    """One token row for each demonstration, in order and however long; DataError for one that cannot be rendered."""
    return [row for _, row in numbered_rows(backbone, rows, source, places=places)]


def numbered_rows(
    backbone: Backbone,
    rows: Sequence[Mapping[str, Any]],
    source: str,
    *,
    renderer: Renderer | None = None,
    loss_on: LossOn = "all",
    places: Sequence[str] = (),
    refuse: Refuse | None = None,
) -> list[tuple[int, TokenRow]]:
    """The number of each demonstration, from 0, and its token row, without the conversations that went to `refuse`.

    `renderer` saves making one for conversations.
    """
    places = places or _numbered(source, len(rows))
    if not is_conversations(rows):
        for place, row in zip(places, rows, strict=True):
            if not isinstance(row.get("prompt"), str) or not isinstance(row.get("completion"), str):
                raise DataError(f"{place}: needs text under prompt and completion (or messages in every row)")
        pairs = [(row["prompt"], row["completion"]) for row in rows]
        made = prompt_completion_rows(backbone.encode, pairs, backbone.start_ids, backbone.eos_id, places)
        return list(enumerate(made))
    renderer = renderer or renderer_for(backbone, rows)
    found: list[tuple[int, TokenRow]] = []
    for number, (place, row) in enumerate(zip(places, rows, strict=True)):
        try:
            made_row = renderer.conversation(row["messages"], place, loss_on=loss_on, tools=row.get("tools"))
        except DataError as error:
            if refuse is None:
                raise
            refuse(place, str(error).removeprefix(f"{place}: "))
        else:
            found.append((number, made_row))
    return found


def renderer_for(backbone: Backbone, rows: Sequence[Mapping[str, Any]]) -> Renderer:
    """A renderer of conversations. Where any of them holds reasoning, the tokenizer's template is told: see `THINKS`."""
    tokenizer = backbone.tokenizer
    has_reasoning = any(message.get(name) for row in rows for message in row["messages"] for name in REASONING)
    if has_reasoning and not learns_reasoning(tokenizer):
        tokenizer.chat_template = THINKS + template_text(tokenizer)
    return Renderer(tokenizer)


def is_conversations(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all rows are conversations; else they are pairs of texts."""
    return all("messages" in row for row in rows)


def _numbered(source: str, count: int) -> list[str]:
    return [f"{source}, row {number}" for number in range(1, count + 1)]


def _differences(renderer: Renderer, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """In how many rows `apply_chat_template` gives other ids; nothing where it gives the same."""
    compared = rows[:_COMPARED]
    differing = [
        number for number, row in enumerate(compared, 1) if renderer.differs(row["messages"], row.get("tools"))
    ]
    if not differing:
        return []
    return [
        f"{len(differing)} of the first {len(compared)} rows have other ids than apply_chat_template gives "
        f"(first: row {differing[0]}): a control token in a text, a merge across a boundary, or BOS"
    ]


def question_rows(rows: Sequence[Mapping[str, Any]], source: str) -> list[dict[str, Any]]:
    """Prompts, as `{"id", "prompt"}` or `{"id", "messages"}`, of prompt rows or of demonstrations without their answer."""
    found = []
    for number, row in enumerate(rows, 1):
        name = str(row.get("id", number))
        if isinstance(row.get("messages"), list):
            messages = row["messages"]
            is_answered = (
                bool(messages) and isinstance(messages[-1], Mapping) and messages[-1].get("role") == "assistant"
            )
            tools = {"tools": row["tools"]} if row.get("tools") else {}
            found.append({"id": name, "messages": messages[:-1] if is_answered else messages, **tools})
        elif isinstance(row.get("prompt"), str):
            found.append({"id": name, "prompt": row["prompt"]})
        else:
            raise DataError(f"{source}, row {number}: needs text under prompt, or messages")
    return found
