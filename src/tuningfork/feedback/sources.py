"""What is labelled: rows of a preference, ranking or judgement file as items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tuningfork.data.adapters import RANKING_SHAPES
from tuningfork.data.judgements import Candidate, Judgement, read_judgements
from tuningfork.data.reader import Dataset, open_data
from tuningfork.errors import DataError
from tuningfork.feedback.items import NewItem
from tuningfork.randomness import numpy_generator

SOURCE_SHAPES = (*RANKING_SHAPES, "prompts", "prompt_completion", "conversation")
"""Shapes that can be labelled; of demonstrations only the prompts are used."""
_MOST_ANSWERS = 26


def open_source(source: str | Path) -> Dataset:
    """The rows of a file that can be labelled; DataError for others."""
    return open_data(source, accept=SOURCE_SHAPES)


def items_of(data: Dataset, *, seed: int = 0, is_gold: bool = False) -> list[NewItem]:
    """Each set of answers once, in an order drawn by seed. `is_gold`: how the file ranks them is the known answer."""
    found = list(_items(read_judgements(data), str(data.source), is_gold))
    if not found:
        raise DataError(f"{data.source}: no row has two different answers, so there is nothing to compare")
    return [found[index] for index in numpy_generator(seed, "items").permutation(len(found))]


def _items(judgements: Sequence[Judgement], source: str, is_gold: bool) -> Iterator[NewItem]:
    seen: set[tuple[str, ...]] = set()
    names: set[str] = set()
    for judgement in judgements:
        texts = [clean(candidate.text) for candidate in judgement.candidates]
        key = (judgement.prompt, *sorted(texts))
        if key in seen or len(set(texts)) < 2:
            continue
        if len(texts) > _MOST_ANSWERS:
            raise DataError(f"{source}: {judgement.id} has {len(texts)} answers; at most {_MOST_ANSWERS} can be ranked")
        seen.add(key)
        name = judgement.item if judgement.item not in names else judgement.id
        names.add(name)
        yield NewItem(
            name=name,
            root=clean(judgement.root),
            prompt=clean(judgement.prompt),
            candidates=[
                Candidate.model_validate(candidate.model_dump() | {"text": text})
                for candidate, text in zip(judgement.candidates, texts, strict=True)
            ],
            messages=judgement.messages,
            prompt_ids=judgement.prompt_ids,
            gold=judgement.ranking if is_gold else None,
            source=source,
        )


def clean(text: str) -> str:
    """Text without halves of surrogate pairs, which no encoding has."""
    return text.encode("utf-8", "replace").decode()
