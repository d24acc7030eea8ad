"""Demonstrations for supervised fine-tuning: prompt and completion, or a conversation in the tokenizer's template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tuningfork.data.rendering import LossOn, Renderer
from tuningfork.data.rows import TokenRow, prompt_completion_rows
from tuningfork.errors import DataError

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone

TooLong = Literal["refuse", "skip"]
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


def read_demonstrations(
    backbone: Backbone,
    rows: Sequence[Mapping[str, Any]],
    source: str,
    *,
    loss_on: LossOn = "all",
    too_long: TooLong = "refuse",
) -> Demonstrations:
    """Token rows of `{"prompt", "completion"}` or `{"messages": [{"role", "content"}, ...]}` rows, in order.

    The targets are the completion and its EOS, or the answers (all, or the last) and what ends each. DataError for what
    cannot be used, and for a row longer than the context unless such rows are skipped; nothing is ever cut.
    """
    is_chat = _is_chat(rows)
    renderer = Renderer(backbone.tokenizer) if is_chat else None
    found = demonstration_rows(backbone, rows, source, renderer=renderer, loss_on=loss_on)
    notes = [*renderer.notes, *_differences(renderer, rows)] if renderer else []
    kept = [row for row in found if len(row.ids) <= backbone.max_length]
    num_skipped = len(found) - len(kept)
    if num_skipped and too_long == "refuse":
        number, row = next((n, r) for n, r in enumerate(found, 1) if len(r.ids) > backbone.max_length)
        raise DataError(
            f"{source}, row {number}: {len(row.ids)} tokens, the model's context holds {backbone.max_length}; "
            f"shorten it, or skip such rows ({num_skipped:,} of {len(found):,}) with `too_long: skip`"
        )
    if not kept:
        raise DataError(f"{source}: every row is longer than the model's context of {backbone.max_length} tokens")
    if num_skipped:
        notes.append(f"{num_skipped:,} of {len(found):,} rows are longer than {backbone.max_length} tokens and skipped")
    return Demonstrations(kept, is_chat, num_skipped, tuple(notes))


def demonstration_rows(
    backbone: Backbone,
    rows: Sequence[Mapping[str, Any]],
    source: str,
    *,
    renderer: Renderer | None = None,
    loss_on: LossOn = "all",
) -> list[TokenRow]:
    """One token row for each demonstration, in order and however long; `renderer` saves making one for conversations."""
    if _is_chat(rows):
        renderer = renderer or Renderer(backbone.tokenizer)
        return [
            renderer.conversation(row["messages"], f"{source}, row {number}", loss_on=loss_on)
            for number, row in enumerate(rows, 1)
        ]
    for number, row in enumerate(rows, 1):
        if not isinstance(row.get("prompt"), str) or not isinstance(row.get("completion"), str):
            raise DataError(
                f"{source}, row {number}: needs text under prompt and completion (or messages in every row)"
            )
    pairs = [(row["prompt"], row["completion"]) for row in rows]
    return prompt_completion_rows(backbone.encode, pairs, backbone.start_ids, backbone.eos_id, source)


def _is_chat(rows: Sequence[Mapping[str, Any]]) -> bool:
    return all("messages" in row for row in rows)


def _differences(renderer: Renderer, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """In how many rows `apply_chat_template` gives other ids; nothing where it gives the same."""
    compared = rows[:_COMPARED]
    differing = [number for number, row in enumerate(compared, 1) if renderer.differs(row["messages"])]
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
            found.append({"id": name, "messages": messages[:-1] if is_answered else messages})
        elif isinstance(row.get("prompt"), str):
            found.append({"id": name, "prompt": row["prompt"]})
        else:
            raise DataError(f"{source}, row {number}: needs text under prompt, or messages")
    return found
