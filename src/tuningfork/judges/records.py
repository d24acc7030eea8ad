"""From responses to pairs, and from opinions to the one record of judgements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from tuningfork.data.jsonl import read_jsonl
from tuningfork.data.judgements import Candidate, Judgement, Rater
from tuningfork.errors import DataError
from tuningfork.judges.base import Judge, Pair
from tuningfork.judges.orders import Asked
from tuningfork.judges.reliability import Label


def pairs_of(judgements: Sequence[Judgement]) -> tuple[list[Pair], dict[str, Label]]:
    """Every two candidates of every judgement as a pair, and who was preferred, by pair id; ties have no label."""
    pairs: list[Pair] = []
    labels: dict[str, Label] = {}
    for judgement in judgements:
        better = set(judgement.pairs())
        for first, second in combinations(range(len(judgement.candidates)), 2):
            id = judgement.id if len(judgement.candidates) == 2 else f"{judgement.id}/{first}-{second}"
            a, b = judgement.candidates[first], judgement.candidates[second]
            pairs.append(Pair(id, judgement.root, judgement.prompt, a, b, {"judgement": judgement}))
            if (first, second) in better or (second, first) in better:
                labels[id] = "a" if (first, second) in better else "b"
    return pairs, labels


def unlabelled_pairs(source: str, columns: tuple[str, str]) -> list[Pair]:
    """Rows with a prompt and two columns of responses, such as `before` and `after`; DataError with the place."""
    pairs = []
    for number, row in enumerate(read_jsonl(source, required=("prompt", *columns)), 1):
        texts = [row[column] for column in columns]
        if not isinstance(row["prompt"], str) or not all(isinstance(text, str) for text in texts):
            raise DataError(f"{source}, row {number}: prompt, {columns[0]} and {columns[1]} have to be texts")
        a, b = (Candidate(text=t, artifact=c) for t, c in zip(texts, columns, strict=True))
        rest: Mapping[str, Any] = {key: value for key, value in row.items() if key not in columns}
        pairs.append(
            Pair(
                f"{row.get('id', row['prompt'])}#{number}",
                str(row.get("root", row["prompt"])),
                row["prompt"],
                a,
                b,
                rest,
            )
        )
    return pairs


def record(asked: Asked, judge: Judge, margin: float = 0.0, clamp: float | None = None) -> Judgement | None:
    """The judgement of a pair, with the probability, at most `clamp`, that its ranking is right; None without an opinion."""
    choice, probability = asked.choice(margin), asked.probability
    if choice is None or probability is None:
        return None
    pair = asked.pair
    source: Judgement | None = pair.row.get("judgement")
    notes = [opinion.note for opinion in (asked.forward, asked.backward) if opinion is not None and opinion.note]
    principle = pair.row.get("principle")
    return Judgement(
        id=pair.id,
        item=source.item if source else str(pair.row.get("id", pair.id)),
        root=pair.root,
        prompt=pair.prompt,
        prompt_ids=source.prompt_ids if source else None,
        messages=source.messages if source else None,
        candidates=[pair.a, pair.b],
        shown=[0, 1] if asked.is_asked_forward else [1, 0],
        ranking={"a": [[0], [1]], "b": [[1], [0]], "tie": [[0, 1]]}[choice],
        strength=abs(2 * probability - 1),
        probability=min(max(probability, 1 - probability), 1.0 if clamp is None else clamp),
        rater=Rater(id=judge.name, kind=judge.kind),
        note=" / ".join([*([f"principle: {principle}"] if principle else []), *notes])[:2000],
    )
