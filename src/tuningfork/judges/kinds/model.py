"""A language model as judge, on this machine or at an endpoint: which of two answers is better, or how good is each?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

import tuningfork.settings
from tuningfork.asking.settings import AskedSettings, ReplySampling
from tuningfork.judges.base import Judge, Opinion, Pair, RaterKind
from tuningfork.settings import Input

if TYPE_CHECKING:
    from tuningfork.asking.asker import Asker, Question
    from tuningfork.asking.replies import Reply
    from tuningfork.judges.questions import Form
    from tuningfork.stage import StageContext


class Settings(tuningfork.settings.Settings):
    """Settings of a model as judge."""

    by: AskedSettings
    """which model: `{kind: local, model: FOLDER}` or `{kind: endpoint, url: ..., model: NAME, token_cap: 200000}`"""
    asks: Literal["pairwise", "pointwise"] = "pairwise"
    """`pairwise`: both answers at once; `pointwise`: a rating of each alone, and the higher one is preferred"""
    prompt: Input | None = None
    """text file with the question, which may hold `$prompt`, `$a`, `$b` (pairwise only) and `$principle`; empty takes the
    one that comes with the package"""
    principle: str = ""
    """what to judge by, in a sentence"""
    labels: tuple[str, ...] | None = None
    """what the model replies: for pairwise the names of the first and the second answer (A and B), for pointwise the ratings
    from worst to best (1 to 5)"""
    reads: Literal["probabilities", "text", "reasons"] = "probabilities"
    """`probabilities` of the labels as the model gives them, else from its text where it gives none; `text` lets it write
    first (say why, think) and takes the last label it names; `reasons` lets it write first too, and takes the probabilities of
    the labels where it names the last one (a model on this machine, `asked_in: text`)"""
    sampling: ReplySampling | None = None
    """how its text is drawn; empty takes the likeliest tokens, 256 at most"""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.sampling is not None and self.reads == "probabilities":
            raise ValueError("sampling has no effect on probabilities; say reads: text")
        if self.reads == "reasons" and not (self.by.kind == "local" and self.by.asked_in == "text"):
            raise ValueError(
                "reads: reasons goes on with the model's own text: it needs by: {kind: local, asked_in: text}"
            )
        if self.labels is not None and (
            len(set(self.labels)) != len(self.labels) or (len(self.labels) != 2 and self.asks == "pairwise")
        ):
            raise ValueError("labels: give two different ones for pairwise, or different ratings from worst to best")
        return self


def load(stage: StageContext, settings: Settings, field: str) -> Judge:
    """The judge; ModelError where its model cannot be asked, DataError for a question that lacks what it needs."""
    from tuningfork.asking.asker import open_asker
    from tuningfork.judges.questions import load_form

    sampling = settings.sampling or ReplySampling(max_new_tokens=256, temperature=0)
    asker = open_asker(stage, settings.by, sampling, f"{field}.by")
    file = stage.inputs[f"{field}.prompt"].reference if settings.prompt else None
    return ModelJudge(asker, load_form(settings.asks, file, settings.labels), settings)


class ModelJudge:
    """Asks a model. Every reply is kept; a cap on tokens or cost leaves pairs without an opinion."""

    kind: RaterKind = "model"

    def __init__(self, asker: Asker, form: Form, settings: Settings) -> None:
        self.asker, self.form, self.settings = asker, form, settings
        self.name = f"{asker.teacher.name} {form.identity}"

    def compare(self, pairs: Sequence[Pair]) -> list[Opinion | None]:
        """One opinion a pair, in the order in which it is shown."""
        if self.settings.asks == "pairwise":
            replies = self._ask(pairs, [(pair.a.text, pair.b.text) for pair in pairs])
            return [reply and self.form.choice(reply) for reply in replies]
        first = self.rate(pairs, [pair.a.text for pair in pairs])
        second = self.rate(pairs, [pair.b.text for pair in pairs])
        return [a and b and self.form.preferred(a, b) for a, b in zip(first, second, strict=True)]

    def rate(self, pairs: Sequence[Pair], answers: Sequence[str]) -> list[Opinion | None]:
        """A rating from 0 to 1 of one answer to each prompt; pointwise only."""
        replies = self._ask(pairs, [(answer, "") for answer in answers])
        return [reply and self.form.rating(reply) for reply in replies]

    def _ask(self, pairs: Sequence[Pair], answers: Sequence[tuple[str, str]]) -> list[Reply | None]:
        from tuningfork.asking.asker import Question

        labels = self.form.labels if self.settings.reads == "probabilities" else ()
        questions = []
        for pair, (a, b) in zip(pairs, answers, strict=True):
            principle = str(pair.row.get("principle") or self.settings.principle)
            text = self.form.text(principle=principle, prompt=pair.prompt, a=a, b=b)
            questions.append(Question(pair.id, text, labels))
        replies = self.asker.ask("judge", questions)
        return self._after_reasons(questions, replies) if self.settings.reads == "reasons" else replies

    def _after_reasons(self, questions: Sequence[Question], replies: Sequence[Reply | None]) -> list[Reply | None]:
        """The replies, with the probabilities of the labels at the place where each names its last one; a reply that names
        none stays as it is."""
        from dataclasses import replace

        from tuningfork.judges.questions import last_label

        said = [reply and last_label(reply.text, self.form.labels) for reply in replies]
        places = [number for number, label in enumerate(said) if label]
        again = []
        for number in places:
            reply, label = replies[number], said[number]
            assert reply is not None and label is not None
            reasons = reply.text[: reply.text.rindex(label)].rstrip()
            again.append(replace(questions[number], text=questions[number].text + reasons, labels=self.form.labels))
        found = list(replies)
        for number, told in zip(places, self.asker.ask("verdict", again), strict=True):
            reply = found[number]
            found[number] = reply and told and replace(reply, label_logprobs=told.label_logprobs)
        return found
