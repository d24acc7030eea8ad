"""What a training on preferences did to held-out responses: order, likelihoods and lengths before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from tuningfork.preference_training.settings import StageSettings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.evals.preference import Measured
    from tuningfork.model.backbone import Backbone
    from tuningfork.streams.preferences import Example


class Look:
    """The policy as it is: log-probabilities of the held-out responses, and lengths of its own answers."""

    def __init__(
        self, stage: StageContext, settings: StageSettings, backbone: Backbone, heldout: Sequence[Example]
    ) -> None:
        from tuningfork.randomness import derive_seed
        from tuningfork.rollout.rollout import Prompt, sample
        from tuningfork.rollout.sampler import LocalEngine
        from tuningfork.streams.preferences import text_logprobs

        self.rows = heldout
        logprobs = iter(
            text_logprobs(backbone, [text for row in heldout for text in row.texts], stage.runtime).tolist()
        )
        self.logprobs = [[next(logprobs) for _ in row.texts] for row in heldout]
        room = backbone.max_length - settings.sampling.max_new_tokens
        found = {tuple(row.texts[0].prompt): row.root for row in heldout if len(row.texts[0].prompt) <= room}
        prompts = [Prompt(ids, str(index), root) for index, (ids, root) in enumerate(found.items())]
        seed = derive_seed(stage.seed, "preference", "answers")
        engine = LocalEngine(backbone, runtime=stage.runtime, say=stage.events.say)
        answers = sample(engine, prompts[: settings.answers], settings.sampling, seed=seed)
        self.answer_lengths = [len(answer.response_ids) for answer in answers]


def judge(stage: StageContext, settings: StageSettings, before: Look, after: Look, *, is_paired: bool) -> None:
    """Figures of the held-out preferences, the verdict, and the gate."""
    from tuningfork.evals.preference import measure, verdict

    chosen, rejected = _measured(before, after)
    figures = measure(
        chosen,
        rejected,
        is_paired=is_paired,
        answers_before=before.answer_lengths,
        answers_after=after.answer_lengths,
        seed=stage.seed,
    )
    kind, text = verdict(figures)
    stage.figures.update(asdict(figures) | {"length_gap": figures.length_gap, "verdict": kind, "verdict_text": text})
    stage.events.say(text)
    stage.gate(
        "accuracy",
        figures.accuracy >= settings.minimum_accuracy,
        f"{figures.accuracy:.3f} of {figures.comparisons} held-out comparisons in the right order (at least "
        f"{settings.minimum_accuracy}); {kind}",
        accuracy=figures.accuracy,
    )


def _measured(before: Look, after: Look) -> tuple[list[Measured], list[Measured]]:
    """Chosen and rejected (desirable and undesirable) held-out responses with their likelihoods before and after."""
    from tuningfork.evals.preference import Measured

    chosen: list[Measured] = []
    rejected: list[Measured] = []
    for row, old, new in zip(before.rows, before.logprobs, after.logprobs, strict=True):
        for place, text in enumerate(row.texts):
            is_chosen = row.is_desirable if len(row.texts) == 1 else place == 0
            measured = Measured(old[place], new[place], len(text.response), row.root)
            (chosen if is_chosen else rejected).append(measured)
    return chosen, rejected
