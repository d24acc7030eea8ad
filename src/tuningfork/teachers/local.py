"""A model on this machine as a teacher: the sampler of this package, in the model's chat template where it has one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tuningfork.evals.answers import answer_prompts
from tuningfork.model.loading import load_backbone
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.runtime import Runtime
from tuningfork.teachers.asking import Keep, Question, Reply
from tuningfork.teachers.settings import TeacherSampling

_AT_ONCE = 64


class LocalModel:
    """Asks a model that is loaded here. Replies are a function of (weights, sampling, seed, purpose, question)."""

    def __init__(self, source: str, key: str, runtime: Runtime, sampling: TeacherSampling) -> None:
        self.name = f"{'/'.join(Path(source).parts[-2:])}@{key[-12:]}"
        self.backbone = load_backbone(source, runtime)
        self.is_chat = bool(getattr(self.backbone.tokenizer, "chat_template", None))
        greedy = sampling.temperature == 0
        self.sampling = SamplingSettings(
            max_new_tokens=sampling.max_new_tokens,
            greedy=greedy,
            temperature=1.0 if greedy else sampling.temperature,
            top_p=1.0 if greedy else sampling.top_p,
        )

    def ask(
        self,
        questions: Sequence[Question],
        *,
        seed: int,
        purpose: str,
        spent: int,
        keep: Keep,
        is_stopped: Callable[[], bool],
    ) -> None:
        """Some questions at a time; nothing here is paid for by the token, so `spent` has no limit."""
        for start in range(0, len(questions), _AT_ONCE):
            if is_stopped():
                return
            rows = [self._row(question) for question in questions[start : start + _AT_ONCE]]
            found = answer_prompts(self.backbone, rows, self.sampling, seed=seed, purpose=purpose)
            for number, (rollout, answer) in enumerate(zip(found.rollouts, found.answers, strict=True), start):
                tokens = len(rollout.prompt_ids), len(rollout.response_ids)
                keep(number, Reply(answer.text, answer.has_ended, *tokens))

    def _row(self, question: Question) -> dict[str, object]:
        if self.is_chat:
            return {"id": question.id, "messages": [{"role": "user", "content": question.text}]}
        return {"id": question.id, "prompt": question.text}
