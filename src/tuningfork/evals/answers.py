"""A model's answers to prompts: the same prompts, random numbers and decoding for every model that is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuningfork.errors import DataError
from tuningfork.evals.gold import Answer
from tuningfork.randomness import derive_seed
from tuningfork.rollout.settings import SamplingSettings

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone
    from tuningfork.rollout.rollout import Prompt, Rollout


@dataclass(frozen=True)
class Answers:
    """Rollouts of one model, `num_samples` in a row for each prompt row, and their texts."""

    rollouts: Sequence[Rollout]
    answers: Sequence[Answer]


def make_prompts(backbone: Backbone, rows: Sequence[Mapping[str, Any]]) -> list[Prompt]:
    """Prompts as ids, texts or conversations; DataError for one that leaves no room in the context."""
    from tuningfork.data.rendering import prompt_ids
    from tuningfork.rollout.rollout import Prompt

    prompts = []
    for row, full in zip(rows, prompt_ids(backbone, rows), strict=True):
        if len(full) >= backbone.max_length:
            raise DataError(
                f"prompt {row['id']!r} has {len(full)} tokens, the model's context holds {backbone.max_length}; shorten it"
            )
        prompts.append(Prompt(full, str(row["id"]), str(row.get("root", row["id"]))))
    return prompts


def askable(backbone: Backbone, rows: Sequence[Mapping[str, Any]], count: int) -> tuple[list[Mapping[str, Any]], int]:
    """The first `count` prompts that leave room for an answer in the context, and how many stood before that do not."""
    from tuningfork.data.rendering import prompt_ids

    found: list[Mapping[str, Any]] = []
    num_looked_at = 0
    while len(found) < count and num_looked_at < len(rows):
        chunk = rows[num_looked_at : num_looked_at + count - len(found)]
        ids = prompt_ids(backbone, chunk)
        found += [row for row, full in zip(chunk, ids, strict=True) if len(full) < backbone.max_length]
        num_looked_at += len(chunk)
    return found, num_looked_at - len(found)


def prompt_text(row: Mapping[str, Any]) -> str:
    """A prompt row as text for people: the prompt, or a conversation with its roles in front."""
    messages = row.get("messages", row.get("prompt"))
    return messages if isinstance(messages, str) else "\n".join(f"{m['role']}: {m['content']}" for m in messages or ())


def answer_prompts(
    backbone: Backbone,
    rows: Sequence[Mapping[str, Any]],
    sampling: SamplingSettings,
    *,
    seed: int,
    purpose: str,
    num_samples: int = 1,
) -> Answers:
    """Sample answers; equal (seed, purpose, prompt id, sample index) draw equal random numbers for every model."""
    from tuningfork.rollout.rollout import sample
    from tuningfork.rollout.sampler import LocalEngine

    rollouts = sample(
        LocalEngine(backbone),
        make_prompts(backbone, rows),
        sampling,
        seed=derive_seed(seed, purpose),
        num_samples=num_samples,
    )
    return Answers(rollouts, to_answers(backbone, rollouts))


def to_answers(backbone: Backbone, rollouts: Sequence[Rollout]) -> list[Answer]:
    """Texts of rollouts, and whether each ended by itself."""
    texts = backbone.decode([rollout.response_ids for rollout in rollouts])
    return [Answer(text, r.finish_reason == "stop") for text, r in zip(texts, rollouts, strict=True)]
