"""Answers from a model for people to compare. The model lives in a process of its own (`serve.replies`): no torch here."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tuningfork.data.judgements import Candidate
from tuningfork.errors import ModelError

_TRIES = 3


@dataclass(frozen=True)
class Draw:
    """How one of the answers to a prompt is drawn: from which of the models, and how."""

    model: int
    sampling: Mapping[str, Any]


@dataclass(frozen=True)
class Drawn:
    """Different answers to one prompt; only one where the model says nothing else."""

    prompt_ids: list[int]
    candidates: list[Candidate]


class Sampler:
    """Models that are asked one request at a time. `keys`: what is kept of a model as the answers' artifact.

    Example: Sampler(["runs/snazzy/6-rl/model"], ["4f2a..."], [Draw(0, {"max_new_tokens": 14})] * 2)
    """

    def __init__(
        self,
        models: Sequence[str | Path],
        keys: Sequence[str],
        draws: Sequence[Draw],
        *,
        seed: int = 0,
        prompt_ending: str | None = None,
    ) -> None:
        self.models, self.keys, self.draws, self.seed = [str(model) for model in models], list(keys), list(draws), seed
        self.prompt_ending = prompt_ending
        """white space at the end of every prompt of a model that is asked one thing at a time; None for one that talks"""
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Load the models, where that has not been done. ModelError where it fails."""
        with self._lock:
            self._running()

    def draw(self, rows: Sequence[Mapping[str, Any]]) -> list[Drawn]:
        """Answers to each row (`{"id", "prompt"}` or `{"id", "messages"}`), equal texts once; ModelError where that fails.

        A row whose answers are all equal is drawn again, a few times.
        """
        found: dict[int, Drawn] = {}
        left = list(range(len(rows)))
        for attempt in range(_TRIES):
            answer = self._ask([rows[index] for index in left], attempt)
            for index, ids, replies in zip(left, answer["prompt_ids"], answer["replies"], strict=True):
                known = found[index].candidates if index in found else []
                found[index] = Drawn(ids, self._different([*known, *map(self._candidate, replies)]))
            left = [index for index in left if len(found[index].candidates) < 2]
            if not left:
                break
        return [found[index] for index in range(len(rows))]

    def stop(self) -> None:
        """End the process, also in the middle of an answer: whoever waits for it gets a ModelError."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                _pipe(pipe).close()

    def _different(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        by_text = {candidate.text.strip(): candidate for candidate in reversed(candidates)}
        return list(by_text.values())[::-1][: len(self.draws)]

    def _candidate(self, reply: Mapping[str, Any]) -> Candidate:
        return Candidate(
            text=reply["text"],
            ids=reply["ids"],
            has_ended=reply["has_ended"],
            artifact=self.keys[reply["model"]],
            sampling=reply["sampling"],
        )

    def _ask(self, rows: Sequence[Mapping[str, Any]], attempt: int) -> dict[str, Any]:
        places = [self.draws[:index].count(draw) for index, draw in enumerate(self.draws)]
        draws = [
            {"model": draw.model, "sampling": draw.sampling, "sample": place + attempt * len(self.draws)}
            for draw, place in zip(self.draws, places, strict=True)
        ]
        with self._lock:
            process = self._running()
            try:
                _pipe(process.stdin).write(json.dumps({"rows": rows, "draws": draws, "seed": self.seed}) + "\n")
                _pipe(process.stdin).flush()
            except BrokenPipeError:
                self._process = None
                raise ModelError("the process with the model has ended; the next try starts it again") from None
            return self._read(process)

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tuningfork.serve.replies", *self.models],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C is for the server, which ends this one in its own time
            )
            self._read(self._process)
        return self._process

    def _read(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        line = _pipe(process.stdout).readline()
        if not line:
            self._process = None
            raise ModelError(f"the process with the model ended (code {process.wait()}); its error is above")
        answer = json.loads(line)
        if "error" in answer:
            raise ModelError(answer["error"])
        return answer


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
