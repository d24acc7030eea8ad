"""Questions to a teacher, with every reply kept on disk as it comes: a cut run resumes and pays for nothing twice."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tuningfork.teachers.settings import EndpointTeacher, LocalTeacher, TeacherSampling

if TYPE_CHECKING:
    from tuningfork.stage import StageContext

CACHE = "replies.jsonl"


@dataclass(frozen=True)
class Question:
    """What a teacher is asked. Equal (id, text) under one seed and purpose get the same reply from a local teacher."""

    id: str
    text: str


@dataclass(frozen=True)
class Reply:
    """What a teacher wrote, whether it ended by itself, and what it cost in tokens."""

    text: str
    has_ended: bool
    prompt_tokens: int
    reply_tokens: int


Keep = Callable[[int, Reply], None]
"""Takes the reply to the question of that number as soon as it is there."""


class Teacher(Protocol):
    """Answers questions; `name` says which model it is, for provenance and for the cache."""

    name: str

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
        """Give each reply to `keep`. Fewer replies than questions: a cap was reached, or the run is being stopped.

        `spent` tokens were used before. ModelError where the teacher cannot be asked; replies that came are kept first.
        """
        ...


class Asker:
    """Asks a teacher for one stage: takes replies from the cache, keeps new ones, counts tokens, time and cost."""

    def __init__(self, stage: StageContext, teacher: Teacher, settings: Any, sampling: TeacherSampling) -> None:
        self.stage, self.teacher, self.settings, self.sampling = stage, teacher, settings, sampling
        self._path = stage.work / CACHE
        self._known = _read_cache(self._path)
        self._used: dict[str, Reply] = {}
        self.num_cached, self.num_unasked, self.seconds = 0, 0, 0.0

    def ask(self, purpose: str, questions: Sequence[Question]) -> list[Reply | None]:
        """The replies in order; None for a question that the cap on tokens left unasked. Interrupted when stopped."""
        keys = [self._key(purpose, question) for question in questions]
        missing = [index for index, key in enumerate(keys) if key not in self._known]
        self.num_cached += len(questions) - len(missing)
        for key in keys:
            if key in self._known:
                self._used[key] = self._known[key]
        started = time.monotonic()
        with (
            self._path.open("a", encoding="utf-8") as file,
            self.stage.events.progress(len(questions), purpose, "reply", len(questions) - len(missing)) as progress,
        ):

            def keep(number: int, reply: Reply) -> None:
                key = keys[missing[number]]
                self._known[key] = self._used[key] = reply
                file.write(json.dumps({"key": key, **asdict(reply)}, ensure_ascii=False) + "\n")
                file.flush()
                progress.advance(1)

            if missing:
                self.teacher.ask(
                    [questions[index] for index in missing],
                    seed=self.stage.seed,
                    purpose=purpose,
                    spent=self.tokens,
                    keep=keep,
                    is_stopped=lambda: self.stage.stop.is_set,
                )
        self.seconds += time.monotonic() - started
        self.stage.stop.check()
        replies = [self._known.get(key) for key in keys]
        self.num_unasked += sum(reply is None for reply in replies)
        return replies

    @property
    def tokens(self) -> int:
        """Tokens of all prompts and replies of this stage, those of an attempt that was cut included."""
        return sum(reply.prompt_tokens + reply.reply_tokens for reply in self._used.values())

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
        if isinstance(self.settings, EndpointTeacher) and None not in (
            self.settings.prompt_price,
            self.settings.reply_price,
        ):
            cost = (prompt * (self.settings.prompt_price or 0) + reply * (self.settings.reply_price or 0)) / 1e6
            figures["cost"], text = cost, f"{text}, cost {cost:.4f}"
        if self.num_unasked:
            figures["left_unasked"] = self.num_unasked
            text += f"; {self.num_unasked:,} questions were not asked: token_cap is reached"
        self.stage.figures.update(figures)
        self.stage.events.say(text)

    def _key(self, purpose: str, question: Question) -> str:
        parts = [self.teacher.name, self.sampling.model_dump(), self.stage.seed, purpose, question.id, question.text]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def open_asker(stage: StageContext, settings: LocalTeacher | EndpointTeacher, sampling: TeacherSampling) -> Asker:
    """An asker over the teacher that the settings name; a local one is the input `teacher.model` of the stage."""
    if isinstance(settings, EndpointTeacher):
        from tuningfork.teachers.endpoint import Endpoint

        return Asker(stage, Endpoint(settings, sampling), settings, sampling)
    from tuningfork.teachers.local import LocalModel

    found = stage.inputs["teacher.model"]
    return Asker(stage, LocalModel(found.reference, found.key, stage.runtime, sampling), settings, sampling)


def _read_cache(path: Path) -> dict[str, Reply]:
    """Replies by key. A last line that a kill cut off is dropped: its reply is asked for again."""
    if not path.is_file():
        return {}
    content = path.read_text(encoding="utf-8")
    whole, newline, _ = content.rpartition("\n")
    if whole + newline != content:
        path.write_text(whole + newline, encoding="utf-8")
    rows = [json.loads(line) for line in whole.split("\n") if line]
    return {row.pop("key"): Reply(**row) for row in rows}
