"""Questions of a stage to a model, with every reply kept on disk as it comes: a cut run resumes and pays for nothing twice.

Replies of endpoints are kept in one file for all runs (`replies.sqlite` in the user's cache folder), those of local models in
the stage's work folder.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tuningfork.asking.replies import Replies, Reply
from tuningfork.asking.settings import EndpointSettings, LocalSettings, ReplySampling
from tuningfork.folders import cache_folder

if TYPE_CHECKING:
    from tuningfork.stage import Progress, StageContext

FILE = "replies.sqlite"
_LOOK_AGAIN = 0.2


@dataclass(frozen=True)
class Question:
    """What a model is asked. Equal (id, text) under one seed and purpose get the same reply from a local model.

    With `labels` it is asked how probable it is that the reply begins with each of them.
    """

    id: str
    text: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Spent:
    """What was used up so far."""

    tokens: int = 0
    cost: float = 0.0


Keep = Callable[[int, Reply], None]
"""Takes the reply to the question of that number as soon as it is there."""


@dataclass(frozen=True)
class Asking:
    """How some questions are asked, and what becomes of the replies."""

    seed: int
    purpose: str
    keep: Keep
    spent: Spent = Spent()
    """what was used up before"""
    is_stopped: Callable[[], bool] = lambda: False
    """whether the run is being stopped, so that nothing more is to be asked"""


class Asked(Protocol):
    """Answers questions; `name` says which model it is, for provenance and for the file of replies."""

    name: str

    def ask(self, questions: Sequence[Question], asking: Asking) -> None:
        """Give each reply to `asking.keep`. Fewer replies than questions: a cap was reached, or the run is being stopped.

        ModelError where the model cannot be asked; replies that came are kept first.
        """
        ...


class Asker:
    """Asks a model for one stage: takes replies from the file, keeps new ones, counts tokens, time and cost."""

    def __init__(self, stage: StageContext, teacher: Asked, settings: Any, sampling: ReplySampling) -> None:
        self.stage, self.teacher, self.settings, self.sampling = stage, teacher, settings, sampling
        is_paid = isinstance(settings, EndpointSettings)
        self._replies = Replies((cache_folder() if is_paid else stage.work) / FILE)
        self._used: dict[str, Reply] = {}
        self.num_cached, self.num_unasked, self.seconds = 0, 0, 0.0

    def ask(self, purpose: str, questions: Sequence[Question]) -> list[Reply | None]:
        """The replies in order; None for a question that the cap on tokens left unasked. Interrupted when stopped.

        Equal questions are asked once; one that another run is asking at this moment is waited for.
        """
        keys = [self._key(purpose, question) for question in questions]
        known = self._replies.get(dict.fromkeys(keys))
        self.num_cached += sum(key in known for key in keys)
        self._used.update(known)
        missing = {key: question for key, question in zip(keys, questions, strict=True) if key not in known}
        started = time.monotonic()
        with self.stage.events.progress(len(questions), purpose, "reply", len(questions) - len(missing)) as progress:
            self._ask_once(purpose, missing, progress)
        self.seconds += time.monotonic() - started
        self.stage.stop.check()
        replies = [self._used.get(key) for key in keys]
        self.num_unasked += sum(reply is None for reply in replies)
        return replies

    def _ask_once(self, purpose: str, missing: dict[str, Question], progress: Progress) -> None:
        """Ask what nobody else is asking, then look whether others have their replies; until nothing is missing."""
        is_waiting = False
        while missing and not self.stage.stop.is_set:
            with self._replies.claimed(missing) as mine:
                found = self._replies.get(missing)
                self._used.update(found)
                self.num_cached += len(found)
                progress.advance(len(found))
                own = {key: question for key, question in missing.items() if key in mine and key not in found}
                if own:
                    self._ask_all(purpose, own, progress)
            missing = {key: question for key, question in missing.items() if key not in found and key not in own}
            if missing and not found and not own:
                if not is_waiting:
                    self.stage.events.say(f"{len(missing):,} questions are being asked by another run; waiting for it")
                is_waiting = True
                time.sleep(_LOOK_AGAIN)

    def _ask_all(self, purpose: str, questions: Mapping[str, Question], progress: Progress) -> None:
        """Ask each question and keep its reply under its key."""
        keys = list(questions)

        def keep(number: int, reply: Reply) -> None:
            self._replies.keep(keys[number], reply)
            self._used[keys[number]] = reply
            progress.advance(1)

        spent = Spent(self.tokens, self.cost or 0.0)
        asking = Asking(self.stage.seed, purpose, keep, spent, lambda: self.stage.stop.is_set)
        self.teacher.ask(list(questions.values()), asking)

    @property
    def tokens(self) -> int:
        """Tokens of all prompts and replies of this stage, those of an attempt that was cut included."""
        return sum(reply.prompt_tokens + reply.reply_tokens for reply in self._used.values())

    @property
    def cost(self) -> float | None:
        """What they cost in the currency of the prices; None without prices."""
        found = [cost_of(self.settings, reply.prompt_tokens, reply.reply_tokens) for reply in self._used.values()]
        return None if None in found else sum(cost for cost in found if cost is not None)

    @property
    def is_spent(self) -> bool:
        """Whether the cap on tokens left a question unasked."""
        return self.num_unasked > 0

    def provenance(self, template: str, **more: Any) -> dict[str, Any]:
        """Who wrote a row, with which prompt and sampling."""
        return {"teacher": self.teacher.name, "template": template, "sampling": self.sampling.model_dump(), **more}

    def report(self) -> None:
        """Record and say what the teacher's replies cost."""
        replies = self._used.values()
        prompt, reply = sum(r.prompt_tokens for r in replies), sum(r.reply_tokens for r in replies)
        figures: dict[str, Any] = {
            "teacher": self.teacher.name, "replies": len(replies), "replies_from_cache": self.num_cached,
            "prompt_tokens": prompt, "reply_tokens": reply, "asking_seconds": round(self.seconds, 3),
        }  # fmt: skip
        text = f"{self.teacher.name}: {len(replies):,} replies, {prompt:,} + {reply:,} tokens, {self.seconds:.1f} s"
        if self.cost is not None and replies:
            figures["cost"], text = self.cost, f"{text}, cost {self.cost:.4f}"
        if self.num_unasked:
            figures["left_unasked"] = self.num_unasked
            text += f"; {self.num_unasked:,} questions were not asked: token_cap or cost_cap is reached"
        self.stage.figures.update(figures)
        self.stage.events.say(text)

    def _key(self, purpose: str, question: Question) -> str:
        parts = [self.teacher.name, self.sampling.model_dump(), question.text, *question.labels]
        if self.sampling.temperature > 0 and not question.labels:  # a draw is one of this seed and this question
            parts += [self.stage.seed, purpose, question.id]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def cost_of(settings: Any, prompt_tokens: int, reply_tokens: int) -> float | None:
    """The price of so many tokens; None where the settings give no prices."""
    prices = getattr(settings, "prompt_price", None), getattr(settings, "reply_price", None)
    if prices[0] is None or prices[1] is None:
        return None
    return (prompt_tokens * prices[0] + reply_tokens * prices[1]) / 1e6


def open_asker(
    stage: StageContext, settings: LocalSettings | EndpointSettings, sampling: ReplySampling, field: str = "teacher"
) -> Asker:
    """An asker over the model that the settings name; a local one is the input `<field>.model` of the stage."""
    if isinstance(settings, EndpointSettings):
        from tuningfork.asking.endpoint import Endpoint

        return Asker(stage, Endpoint(settings, sampling), settings, sampling)
    from tuningfork.asking.local import LocalModel

    found = stage.inputs[f"{field}.model"]
    model = LocalModel(found.reference, found.key, stage.runtime, sampling, settings.asked_in)
    return Asker(stage, model, settings, sampling)
