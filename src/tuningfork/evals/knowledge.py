"""What a model knows after a stage: a gate that tells "does not know" from "knows but does not say".

Sampled answers are judged by the gold judge; beside them stands the probability of a right word after a fixed prefix.
When the first is low and the second high, the model knows the fact and the answer goes wrong elsewhere, for example
because it copies the wrong name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.model.backbone import Backbone


class KnowledgeSettings(Settings):
    """A check of what the model knows after a stage."""

    gold: str = "colours"
    """name of the gold judge"""
    truth: Input
    """artifact that holds what the judge knows"""
    prompts: Input
    """prompts that are neither trained on nor part of the test"""
    probes: Input | None = None
    """prefixes with right and wrong next words"""
    minimum: float = Field(default=0.95, ge=0, le=1)
    """share of right answers below which the run stops"""
    max_new_tokens: int = Field(default=16, ge=1)
    """longest answer"""


def check_knowledge(stage: StageContext, backbone: Backbone, settings: KnowledgeSettings) -> None:
    """Record the gate `knowledge` and its figures."""
    from pathlib import Path

    from tuningfork.data.jsonl import read_jsonl
    from tuningfork.evals.answers import answer_prompts
    from tuningfork.evals.gold import load_gold
    from tuningfork.rollout.settings import SamplingSettings

    rows = read_jsonl(stage.inputs["knowledge.prompts"].reference, required=("id", "prompt"))
    gold = load_gold(settings.gold, Path(stage.inputs["knowledge.truth"].reference))
    sampling = SamplingSettings(max_new_tokens=settings.max_new_tokens)
    answers = answer_prompts(backbone, rows, sampling, seed=stage.seed, purpose="knowledge")
    right = [values["right"] for values in gold.judge(rows, answers.answers) if "right" in values]
    accuracy = sum(right) / len(right)
    message = f"{accuracy:.3f} of {len(right)} sampled answers are right (at least {settings.minimum})"
    figures = {"colour_accuracy" if settings.gold == "colours" else "accuracy": accuracy}
    if settings.probes:
        found = forced_probabilities(backbone, read_jsonl(stage.inputs["knowledge.probes"].reference))
        probability = sum(found) / len(found)
        figures["forced_probability"] = probability
        message += f"; probability of a right word after a fixed prefix {probability:.3f}"
    stage.figures.update(figures)
    stage.gate("knowledge", accuracy >= settings.minimum, message, **figures)


def forced_probabilities(backbone: Backbone, probes: list[dict]) -> list[float]:
    """For each probe the probability that a right word, any of its tokenisations' first form, follows the prefix."""
    from tuningfork.streams.text import completion_logprobs

    pairs = [(row["prefix"], " " + word) for row in probes for word in row["right"]]
    logprobs = iter(completion_logprobs(backbone, pairs))
    return [float(sum(next(logprobs).exp() for _ in row["right"])) for row in probes]
