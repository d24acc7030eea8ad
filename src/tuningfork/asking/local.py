"""A model on this machine that is asked: the sampler of this package, in its chat template or in plain text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tuningfork.asking.asker import Asking, Question
from tuningfork.asking.labels import label_logprobs
from tuningfork.asking.replies import Reply
from tuningfork.asking.settings import AskedIn, ReplySampling
from tuningfork.evals.answers import answer_prompts, make_prompts
from tuningfork.model.loading import load_backbone
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.runtime import Runtime

_AT_ONCE = 64


class LocalModel:
    """Asks a model that is loaded here. Replies are a function of (weights, sampling, seed, purpose, question)."""

    def __init__(
        self, source: str, key: str, runtime: Runtime, sampling: ReplySampling, asked_in: AskedIn = "chat"
    ) -> None:
        self.name = f"{'/'.join(Path(source).parts[-2:])}@{key[-12:]}" + (
            " in plain text" if asked_in == "text" else ""
        )
        self.runtime = runtime
        self.backbone = load_backbone(source, runtime)
        self.is_chat = asked_in == "chat" and bool(getattr(self.backbone.tokenizer, "chat_template", None))
        greedy = sampling.temperature == 0
        self.sampling = SamplingSettings(
            max_new_tokens=sampling.max_new_tokens,
            greedy=greedy,
            temperature=1.0 if greedy else sampling.temperature,
            top_p=1.0 if greedy else sampling.top_p,
        )

    def ask(self, questions: Sequence[Question], asking: Asking) -> None:
        """Some questions at a time; nothing here is paid for by the token, so there is no cap."""
        for start in range(0, len(questions), _AT_ONCE):
            if asking.is_stopped():
                return
            part = list(enumerate(questions[start : start + _AT_ONCE], start))
            for number, reply in self._labelled([(n, question) for n, question in part if question.labels]):
                asking.keep(number, reply)
            for number, reply in self._written([(n, q) for n, q in part if not q.labels], asking):
                asking.keep(number, reply)

    def _written(self, part: Sequence[tuple[int, Question]], asking: Asking) -> list[tuple[int, Reply]]:
        if not part:
            return []
        rows = [self._row(question) for _, question in part]
        found = answer_prompts(self.backbone, rows, self.sampling, seed=asking.seed, purpose=asking.purpose)
        return [
            (number, Reply(answer.text, answer.has_ended, len(rollout.prompt_ids), len(rollout.response_ids)))
            for (number, _), rollout, answer in zip(part, found.rollouts, found.answers, strict=True)
        ]

    def _labelled(self, part: Sequence[tuple[int, Question]]) -> list[tuple[int, Reply]]:
        if not part:
            return []
        prompts = [prompt.ids for prompt in make_prompts(self.backbone, [self._row(question) for _, question in part])]
        found = label_logprobs(self.backbone, prompts, [question.labels for _, question in part], self.runtime)
        return [
            (number, Reply(max(known, key=known.__getitem__), False, len(prompt), 1, known))
            for (number, _), prompt, known in zip(part, prompts, found, strict=True)
        ]

    def _row(self, question: Question) -> dict[str, object]:
        if self.is_chat:
            return {"id": question.id, "messages": [{"role": "user", "content": question.text}]}
        return {"id": question.id, "prompt": question.text}
