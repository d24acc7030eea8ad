"""Canonical rows as the tokens that would be trained on, for the audit of data with a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tuningfork.data.adapters import DEMONSTRATION_SHAPES, Placed, best_answer, demonstrations, uniform
from tuningfork.data.demonstrations import numbered_rows
from tuningfork.data.findings import Finding, finding
from tuningfork.data.reader import Dataset
from tuningfork.data.rows import TokenRow
from tuningfork.data.token_audit import TokenizerFacts, Tokens

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone

Render = Callable[[Sequence[dict[str, Any]]], Sequence[TokenRow]]
"""Token rows of demonstrations, one for each, in order; DataError for what cannot be rendered."""


def facts_of(backbone: Backbone) -> TokenizerFacts:
    """What the audit must know of a backbone's tokenizer."""
    return TokenizerFacts(
        pad=backbone.pad_id,
        eos=backbone.eos_id,
        bos=backbone.start_ids[0] if backbone.start_ids else None,
        stops=tuple(dict.fromkeys([*backbone.stop_ids, backbone.eos_id])),
        max_length=backbone.max_length,
        decode=lambda ids: str(backbone.tokenizer.decode(list(ids), skip_special_tokens=False)),
    )


def tokens_of(backbone: Backbone, data: Dataset) -> tuple[Tokens | None, list[Finding]]:
    """The rows of a data set as they would be trained on, and a finding for those that cannot be rendered.

    Texts are whole documents with EOS; of rankings the best answer is the target; None for shapes without tokens to learn.
    """
    if data.shape == "text":
        placed = [(place, row["text"]) for place, row in data.placed()]
        return Tokens(
            _documents(backbone, [text for _, text in placed]), facts_of(backbone), [p for p, _ in placed]
        ), []
    if data.shape == "ranking":
        rows = [(place, best_answer(row)) for place, row in data.placed() if "ranks" in row]
    elif data.shape in DEMONSTRATION_SHAPES:
        rows = uniform(demonstrations(data))
    else:
        return None, []
    return _rendered(backbone, rows, data.source)


def _rendered(backbone: Backbone, rows: Sequence[Placed], source: str) -> tuple[Tokens, list[Finding]]:
    refused: list[tuple[str, str]] = []
    places = [place for place, _ in rows]
    found = numbered_rows(
        backbone, [row for _, row in rows], source, places=places, refuse=lambda *fault: refused.append(fault)
    )
    tokens = Tokens([row for _, row in found], facts_of(backbone), [places[number] for number, _ in found])
    if not refused:
        return tokens, []
    place, why = refused[0]
    text = f"cannot be rendered for this model, the first because: {place}: {why}"
    severity = "warn" if found else "stop"
    return tokens, [finding("cannot_be_rendered", severity, [place for place, _ in refused], len(rows), text)]


def _documents(backbone: Backbone, texts: Sequence[str]) -> list[TokenRow]:
    start, eos = list(backbone.start_ids), backbone.eos_id
    rows = ([*start, *ids, eos] for ids in backbone.encode(texts))
    return [TokenRow(ids, [False] * max(1, len(start)) + [True] * (len(ids) - max(1, len(start)))) for ids in rows]
