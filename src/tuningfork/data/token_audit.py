"""What the tokens say that are trained on: supervised share, EOS among the targets, BOS, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tuningfork.data.findings import Finding, Lengths, finding
from tuningfork.data.rows import TokenRow
from tuningfork.data.summary import lengths_of

_LEAST_STOPPING = 0.99


@dataclass(frozen=True)
class TokenizerFacts:
    """What an audit must know of a tokenizer: special ids, the longest row, and how ids are shown.

    `bos` is None where a document begins without one. `stops` are the ids that end an answer, EOS among them.
    """

    pad: int
    eos: int
    bos: int | None
    stops: tuple[int, ...]
    max_length: int
    decode: Callable[[Sequence[int]], str]


@dataclass(frozen=True)
class Tokens:
    """Rows as they are trained on. `places` has one place a row, or is empty where rows are packed from several documents."""

    rows: Sequence[TokenRow]
    facts: TokenizerFacts
    places: Sequence[str] = ()

    def place(self, number: int) -> str:
        """Where a row stands."""
        return self.places[number] if self.places else f"packed row {number + 1}"


def supervised_share(tokens: Tokens) -> float:
    """Targets of all tokens."""
    total = sum(len(row.ids) for row in tokens.rows)
    return sum(sum(row.is_target) for row in tokens.rows) / total if total else 0.0


def token_lengths(tokens: Tokens) -> list[Lengths]:
    """Tokens of a row and of its targets."""
    return [
        lengths_of("row", "tokens", [len(row.ids) for row in tokens.rows]),
        lengths_of("targets", "tokens", [sum(row.is_target) for row in tokens.rows]),
    ]


def token_findings(tokens: Tokens) -> list[Finding]:
    """Problems with masks, EOS, BOS, padding and length. What makes training pointless is of severity `stop`."""
    rows, facts = tokens.rows, tokens.facts
    if not rows:
        return []
    found = [_supervision(tokens), *_stopping(tokens), *_beginning(tokens), *_length(tokens)]
    if facts.pad == facts.eos:
        text = "the tokenizer pads with EOS: masking the padding would mask EOS, and the model would never stop; give it a pad token"
        found.append(Finding("pad_is_eos", "stop", 0, 0, text))
    return [one for one in found if one is not None]


def token_examples(tokens: Tokens, count: int = 10) -> list[dict[str, Any]]:
    """Rows spread over the data as pieces of text with what is trained on."""
    number = min(count, len(tokens.rows))
    chosen = [index * len(tokens.rows) // number for index in range(number)]
    return [{"place": tokens.place(index), "pieces": pieces(tokens.rows[index], tokens.facts)} for index in chosen]


def pieces(row: TokenRow, facts: TokenizerFacts) -> list[list[str]]:
    """Runs of tokens of one kind as text, special tokens by their names: `[text, "context" | "target"]`."""
    runs: list[tuple[bool, list[int]]] = []
    for token, is_target in zip(row.ids, row.is_target, strict=True):
        if not runs or runs[-1][0] != is_target:
            runs.append((is_target, []))
        runs[-1][1].append(token)
    return [[facts.decode(ids), "target" if is_target else "context"] for is_target, ids in runs]


def _supervision(tokens: Tokens) -> Finding | None:
    empty = [tokens.place(number) for number, row in enumerate(tokens.rows) if not any(row.is_target)]
    if len(empty) == len(tokens.rows):
        return finding("nothing_supervised", "stop", empty, len(tokens.rows), "have no target: nothing would be learnt")
    return finding("rows_without_target", "warn", empty, len(tokens.rows), "have no target") if empty else None


def _stopping(tokens: Tokens) -> list[Finding]:
    """EOS, or the end of a turn, must be learnt: in packed rows somewhere, in others as the last target."""
    rows, stops = tokens.rows, set(tokens.facts.stops)
    learnt = [any(t and token in stops for token, t in zip(row.ids, row.is_target, strict=True)) for row in rows]
    supervised = [number for number, row in enumerate(rows) if any(row.is_target)]
    without = [tokens.place(number) for number in supervised if not learnt[number]]
    if supervised and len(without) == len(supervised):
        text = "teach no end: EOS is not among the targets, so the model would never stop"
        return [finding("no_eos", "stop", without, len(supervised), text)]
    if tokens.places and without and 1 - len(without) / len(supervised) < _LEAST_STOPPING:
        return [finding("missing_eos", "warn", without, len(supervised), "have targets but no EOS among them")]
    return []


def _beginning(tokens: Tokens) -> list[Finding]:
    bos, rows = tokens.facts.bos, tokens.rows
    if bos is None:
        return []
    found = []
    double = [tokens.place(n) for n, row in enumerate(rows) if row.ids[:2] == [bos, bos]]
    if double:
        text = "begin with two BOS: the template and the tokenizer each add one; keep one"
        found.append(finding("double_bos", "stop" if len(double) == len(rows) else "warn", double, len(rows), text))
    missing = [tokens.place(n) for n, row in enumerate(rows) if row.ids[:1] != [bos]]
    if missing:
        found.append(
            finding("missing_bos", "warn", missing, len(rows), "do not begin with BOS, which this tokenizer adds")
        )
    return found


def _length(tokens: Tokens) -> list[Finding]:
    limit, rows = tokens.facts.max_length, tokens.rows
    cut = [number for number, row in enumerate(rows) if len(row.ids) > limit]
    if not cut:
        return []
    lost = [number for number in cut if any(rows[number].is_target) and not any(rows[number].is_target[:limit])]
    found = [
        finding(
            "too_long",
            "warn",
            [tokens.place(n) for n in cut],
            len(rows),
            f"are longer than {limit:,} tokens and would be cut",
        )
    ]
    if lost:
        text = f"would lose their whole answer behind token {limit:,}"
        found.append(finding("answers_lost", "warn", [tokens.place(n) for n in lost], len(rows), text))
    return found
