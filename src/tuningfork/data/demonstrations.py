"""Demonstrations for supervised fine-tuning: prompt and completion, or a conversation in ChatML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuningfork.data.rows import TokenRow, prompt_completion_rows
from tuningfork.errors import DataError

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone

ROLES = ("system", "user", "assistant")


def demonstration_rows(backbone: Backbone, rows: Sequence[Mapping[str, Any]], source: str) -> list[TokenRow]:
    """Token rows of demonstrations; `{"prompt", "completion"}` or `{"messages": [{"role", "content"}, ...]}`.

    The targets are the completion and its EOS, or every assistant turn and its end-of-turn marker.
    """
    if all("messages" in row for row in rows):
        return [chat_row(backbone, row["messages"], f"{source}, row {number}") for number, row in enumerate(rows, 1)]
    for number, row in enumerate(rows, 1):
        if not isinstance(row.get("prompt"), str) or not isinstance(row.get("completion"), str):
            raise DataError(
                f"{source}, row {number}: needs text under prompt and completion (or messages in every row)"
            )
    pairs = [(row["prompt"], row["completion"]) for row in rows]
    return prompt_completion_rows(backbone.encode, pairs, backbone.start_ids, backbone.eos_id, backbone.max_length)


def chat_row(backbone: Backbone, messages: Sequence[Mapping[str, str]], where: str) -> TokenRow:
    """One conversation as ChatML ids. Markers are single control ids; a marker written in a content stays plain text."""
    start, end = (backbone.tokenizer.convert_tokens_to_ids(token) for token in ("<|im_start|>", "<|im_end|>"))
    if not isinstance(start, int) or not isinstance(end, int) or backbone.tokenizer.unk_token_id in (start, end):
        raise DataError(f"{where}: this tokenizer has no ChatML markers; give rows as prompt and completion")
    newline = backbone.encode(["\n"])[0]
    ids, is_target = list(backbone.start_ids), [False] * len(backbone.start_ids)
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if role not in ROLES or not isinstance(content, str):
            raise DataError(f"{where}: a message needs a role ({', '.join(ROLES)}) and text under content")
        header = [start, *backbone.encode([f"{role}\n"])[0]]
        body = [*backbone.encode([content])[0], end]
        ids += [*header, *body, *newline]
        is_target += [False] * len(header) + [role == "assistant"] * len(body) + [False] * len(newline)
    if not any(is_target):
        raise DataError(f"{where}: no assistant turn, so nothing to learn from")
    if len(ids) > backbone.max_length:
        raise DataError(f"{where}: {len(ids)} tokens, the model's context holds {backbone.max_length}; shorten it")
    return TokenRow(ids, is_target)
