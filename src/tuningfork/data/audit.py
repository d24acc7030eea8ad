"""The audit of data before it is trained on: what is in it, and what would train wrongly in silence.

Every check works on canonical rows as pieces of text (`parts` of their shape); with `tokens` also on what is really
trained on. All rows are looked at, but near duplicates among at most NEAR_ROWS of them; a finding says of how many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tuningfork.data.duplicates import fingerprint, near_pairs, repeats
from tuningfork.data.findings import AuditReport, Finding, Severity, finding
from tuningfork.data.oddities import ODDITIES
from tuningfork.data.pair_audit import pair_figures, pair_findings
from tuningfork.data.part import Part, joined, label_text
from tuningfork.data.raw import Row
from tuningfork.data.shapes import parts
from tuningfork.data.summary import lengths_of
from tuningfork.data.token_audit import Tokens, supervised_share, token_examples, token_findings, token_lengths

NEAR_ROWS = 4000
EXAMPLES = 10
_LEAKED = 20
"""Characters a prompt must have for an answer that begins with it to count."""
_ONE_ANSWER, _FEW_ROWS = 0.5, 20
_ORDER: dict[Severity, int] = {"stop": 0, "warn": 1, "note": 2}
_NO_ANSWER = ("text", "prompts", "labelled", "pair_labelled")
_LABELLED = ("labelled", "pair_labelled", "unpaired")


@dataclass(frozen=True)
class _Seen:
    """A row as the checks see it."""

    place: str
    row: Row
    parts: list[Part]
    prompt: str
    answer: str
    whole: str


def audit(
    rows: Sequence[tuple[str, Row]],
    shape: str,
    *,
    source: str,
    explanation: str = "",
    skipped: int = 0,
    evaluation: Sequence[tuple[str, Row]] = (),
    evaluation_shape: str | None = None,
    tokens: Tokens | None = None,
) -> AuditReport:
    """Audit (place, canonical row) pairs of a shape; `evaluation` are rows that must not occur among them."""
    seen = _see(rows, shape)
    held = _see(evaluation, evaluation_shape or shape)
    findings = [
        *_empty(seen, shape), *_duplicates(seen), *_overlap(seen, held), *_leaked(seen), *_repeated_answer(seen, shape),
        *_labels(seen, shape), *pair_findings(rows, shape), *_oddities(seen),
        *(token_findings(tokens) if tokens else _unsupervised(seen, shape)),
    ]  # fmt: skip
    examples = token_examples(tokens, EXAMPLES) if tokens else list(_examples(seen))
    return AuditReport(
        source=source,
        shape=shape,
        explanation=explanation,
        rows=len(rows),
        supervised_share=supervised_share(tokens) if tokens else _character_share(seen),
        supervised_unit="tokens" if tokens else "characters",
        skipped=skipped,
        lengths=tuple(_lengths(seen, shape) + (token_lengths(tokens) if tokens else [])),
        findings=tuple(sorted(findings, key=lambda one: _ORDER[one.severity])),
        figures=pair_figures(rows, shape) | _label_counts(seen, shape),
        examples=tuple(examples),
    )


def _see(rows: Sequence[tuple[str, Row]], shape: str) -> list[_Seen]:
    found = []
    for place, row in rows:
        pieces = parts(shape, row)
        found.append(
            _Seen(
                place,
                row,
                pieces,
                joined(pieces, "context"),
                joined(pieces, "target"),
                "\n".join(p.text for p in pieces),
            )
        )
    return found


def _lengths(seen: Sequence[_Seen], shape: str) -> list[Any]:
    found = [
        lengths_of(
            "answer" if shape not in _NO_ANSWER else "text", "words", [len(_body(one, shape).split()) for one in seen]
        )
    ]
    if shape not in _NO_ANSWER:
        found.insert(0, lengths_of("prompt", "words", [len(one.prompt.split()) for one in seen]))
    return found


def _body(one: _Seen, shape: str) -> str:
    return one.answer if shape not in ("prompts", "labelled", "pair_labelled") else one.prompt


def _character_share(seen: Sequence[_Seen]) -> float:
    total = sum(len(part.text) for one in seen for part in one.parts)
    return sum(len(part.text) for one in seen for part in one.parts if part.kind == "target") / total if total else 0.0


def _unsupervised(seen: Sequence[_Seen], shape: str) -> Iterator[Finding]:
    if shape not in ("prompts", "labelled", "pair_labelled") and seen and not any(one.answer.strip() for one in seen):
        yield finding(
            "nothing_supervised", "stop", [one.place for one in seen], len(seen), "have nothing to learn from"
        )


def _empty(seen: Sequence[_Seen], shape: str) -> Iterator[Finding]:
    if shape not in ("text", "prompts"):
        sides = [("empty_prompt", "have an empty prompt", lambda one: not one.prompt.strip())]
    else:
        sides = [("empty_text", "are empty", lambda one: not one.whole.strip())]
    if shape not in _NO_ANSWER:
        sides.append(("empty_answer", "have an empty answer", _has_empty_answer))
    for name, text, test in sides:
        places = [one.place for one in seen if test(one)]
        if places:
            yield finding(name, "warn", places, len(seen), text)


def _has_empty_answer(one: _Seen) -> bool:
    return any(not part.text.strip() for part in one.parts if part.kind != "context")


def _duplicates(seen: Sequence[_Seen]) -> Iterator[Finding]:
    wholes = [one.whole for one in seen]
    equal = repeats(wholes)
    if equal:
        yield finding(
            "duplicates",
            "warn" if len(equal) > 0.01 * len(seen) else "note",
            [seen[n].place for n in equal],
            len(seen),
            "repeat an earlier row",
        )
    chosen = _spread(len(seen), NEAR_ROWS)
    pairs = near_pairs([wholes[number] for number in chosen])
    if pairs:
        later = {chosen[second]: chosen[first] for first, second in pairs}
        places = [f"{seen[second].place} like {seen[first].place}" for second, first in sorted(later.items())]
        among = "" if len(chosen) == len(seen) else f"; looked for among {len(chosen):,} of {len(seen):,} rows"
        severity: Severity = "warn" if len(places) > 0.05 * len(chosen) else "note"
        yield finding("near_duplicates", severity, places, len(chosen), f"nearly repeat another row{among}")


def _overlap(seen: Sequence[_Seen], held: Sequence[_Seen]) -> Iterator[Finding]:
    if not held:
        return
    wholes = {fingerprint(one.whole) for one in seen}
    prompts = {fingerprint(one.prompt or one.answer) for one in seen}
    rows = [one.place for one in held if fingerprint(one.whole) in wholes]
    asked = [
        one.place
        for one in held
        if fingerprint(one.prompt or one.answer) in prompts and fingerprint(one.whole) not in wholes
    ]
    if rows:
        yield finding(
            "evaluation_rows_in_training", "warn", rows, len(held), "of the evaluation are rows of the training data"
        )
    if asked:
        yield finding(
            "evaluation_prompts_in_training", "warn", asked, len(held), "of the evaluation ask what training rows ask"
        )
    chosen, held_chosen = _spread(len(seen), NEAR_ROWS), _spread(len(held), NEAR_ROWS // 2)
    texts = [seen[n].whole for n in chosen] + [held[n].whole for n in held_chosen]
    near = {b: a for a, b in near_pairs(texts) if a < len(chosen) <= b}
    if near:
        places = [
            f"{held[held_chosen[b - len(chosen)]].place} like {seen[chosen[a]].place}" for b, a in sorted(near.items())
        ]
        yield finding(
            "evaluation_near_training",
            "warn",
            places,
            len(held_chosen),
            f"of the evaluation nearly repeat one of {len(chosen):,} training rows",
        )


def _leaked(seen: Sequence[_Seen]) -> Iterator[Finding]:
    places = [
        one.place
        for one in seen
        if len(prompt := one.prompt.strip()) >= _LEAKED
        and any(p.kind != "context" and p.text.lstrip().startswith(prompt) for p in one.parts)
    ]
    if places:
        yield finding("prompt_in_answer", "warn", places, len(seen), "have an answer that begins with the whole prompt")


def _repeated_answer(seen: Sequence[_Seen], shape: str) -> Iterator[Finding]:
    if shape in ("prompt_completion", "conversation", "text") and len(seen) >= _FEW_ROWS:
        answer, count = Counter(one.answer.strip() for one in seen).most_common(1)[0]
        if count > _ONE_ANSWER * len(seen):
            places = [one.place for one in seen if one.answer.strip() == answer]
            yield finding("one_answer", "warn", places, len(seen), f"have the same answer ({answer[:40]!r})")


def _labels(seen: Sequence[_Seen], shape: str) -> Iterator[Finding]:
    counts = _label_counts(seen, shape).get("labels", {})
    if shape in _LABELLED and len(counts) == 1 and len(seen) > 1:
        yield finding(
            "one_label",
            "stop",
            [one.place for one in seen],
            len(seen),
            f"have the label {next(iter(counts))}: there is nothing to tell apart",
        )
    if shape in _LABELLED:
        by_text: dict[bytes, set[str]] = {}
        for one in seen:
            by_text.setdefault(fingerprint(_question(one, shape)), set()).add(label_text(one.row["label"]))
        places = [one.place for one in seen if len(by_text[fingerprint(_question(one, shape))]) > 1]
        if places:
            yield finding(
                "contradictory_labels", "warn", places, len(seen), "have a text that has another label elsewhere"
            )


def _question(one: _Seen, shape: str) -> str:
    return one.whole if shape == "unpaired" else one.prompt


def _label_counts(seen: Sequence[_Seen], shape: str) -> dict[str, Any]:
    if shape not in _LABELLED:
        return {}
    counts = Counter(label_text(one.row["label"]) for one in seen)
    most = counts.most_common(10)
    rest = len(counts) - len(most)
    return {"labels": dict(most) | ({f"{rest} others": sum(counts.values()) - sum(c for _, c in most)} if rest else {})}


def _oddities(seen: Sequence[_Seen]) -> Iterator[Finding]:
    places: dict[str, list[str]] = {name: [] for name in ODDITIES}
    for one in seen:
        whole = one.whole
        for name, oddity in ODDITIES.items():
            if oddity.test(whole):
                places[name].append(one.place)
    for name, oddity in ODDITIES.items():
        if places[name]:
            yield finding(name, oddity.severity, places[name], len(seen), oddity.text)


def _examples(seen: Sequence[_Seen]) -> Iterator[dict[str, Any]]:
    for number in _spread(len(seen), EXAMPLES):
        one = seen[number]
        yield {"place": one.place, "pieces": [[part.text, part.kind, part.name] for part in one.parts]}


def _spread(total: int, most: int) -> list[int]:
    """At most `most` numbers below `total`, evenly spread."""
    count = min(total, most)
    return [index * total // count for index in range(count)]
