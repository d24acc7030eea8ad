"""Simulated annotators: they open a link as a person does, see what the page shows, and send what the page would send.

They know a taste, a function of the texts that are shown, and nothing of items, models or which answer is whose. Their habits
are those that labels suffer from: slips, a favourite side, answers without reading, ties out of convenience, haste.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import numpy as np
from pydantic import Field

from tuningfork.errors import RunError
from tuningfork.randomness import numpy_generator
from tuningfork.settings import Settings

Taste = Callable[[str, Sequence[str], Sequence[bool]], Sequence[float]]
"""(prompt, answers as shown, whether each ended) -> a value for each answer; equal ones are a tie"""

_TRIES = 8


class Habits(Settings):
    """How a simulated annotator works."""

    flip_rate: float = Field(default=0.0, ge=0, le=1)
    """how often the worse of two answers is chosen, with attention but by mistake"""
    guess_rate: float = Field(default=0.0, ge=0, le=1)
    """how often any key is pressed without reading"""
    side_rate: float = Field(default=0.0, ge=0, le=1)
    """how often the left answer is taken without reading"""
    tie_rate: float = Field(default=0.0, ge=0, le=1)
    """how often a tie is said out of convenience"""
    skip_rate: float = Field(default=0.0, ge=0, lt=1)
    """how often an item is passed over"""
    seconds: float = Field(default=8.0, gt=0)
    """median time of an answer that was read"""
    hasty_seconds: float = Field(default=1.0, gt=0)
    """median time of one that was not"""
    asks_strength: bool = False
    """whether the strength is given: by how far the values are apart"""


class Page(Protocol):
    """The page's way to the server."""

    def get(self, path: str, query: Mapping[str, Any]) -> tuple[int, dict[str, Any]]: ...
    def post(self, path: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]: ...


class HttpPage:
    """A page opened by a link with a token. RunError where the link is not let in or nobody answers."""

    def __init__(self, link: str) -> None:
        self.address = urlsplit(link)
        self._connection = http.client.HTTPConnection(self.address.hostname or "", self.address.port or 80, timeout=30)
        self._cookie = ""
        answer = self._request("GET", f"{self.address.path or '/'}?{self.address.query}", None)
        cookie = answer.getheader("set-cookie", "")
        answer.read()
        if answer.status != 303 or not cookie:
            raise RunError(f"the link to {self.address.netloc} is not let in (status {answer.status})")
        self._cookie = cookie.partition(";")[0]

    def get(self, path: str, query: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """GET below the page's address: status and JSON."""
        return self._json("GET", f"/{path}?{urlencode(query)}", None)

    def post(self, path: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """POST JSON, with the page's own origin."""
        return self._json("POST", f"/{path}", json.dumps(body))

    def _json(self, method: str, path: str, body: str | None) -> tuple[int, dict[str, Any]]:
        answer = self._request(method, path, body)
        return answer.status, json.loads(answer.read())

    def _request(self, method: str, path: str, body: str | None) -> http.client.HTTPResponse:
        headers = {"cookie": self._cookie, "user-agent": "tuningfork simulated annotator"}
        if body is not None:
            headers |= {"content-type": "application/json", "origin": f"{self.address.scheme}://{self.address.netloc}"}
        try:
            self._connection.request(method, path, body, headers)
            return self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()  # the next request opens it again
            raise RunError(f"{self.address.netloc} does not answer: {error}") from error


@dataclass
class SimulatedAnnotator:
    """One annotator at one page. The same seed, name and screens give the same answers."""

    page: Page
    taste: Taste
    habits: Habits = field(default_factory=Habits)
    name: str = "simulated"
    seed: int = 0
    given: int = field(default=0, init=False)
    """judgements that the server has acknowledged"""
    _seen: Counter[tuple[str, ...]] = field(default_factory=Counter, init=False)

    def work(self, most: int | None = None, patience: float = 0.0) -> int:
        """Answer until `most` judgements are given or nothing has come for `patience` seconds; returns how many were given.

        RunError where the server refuses.
        """
        item, since = self._next(), time.monotonic()
        while most is None or self.given < most:
            if item is None:
                if time.monotonic() - since >= patience:
                    break
                time.sleep(0.2)
                item = self._next()
                continue
            path, body = self.react(item)
            answer = self._call(lambda path=path, body=body: self.page.post(path, body))
            self.given += path == "api/judge" and answer.get("outcome") != "late"
            item, since = answer["item"], time.monotonic()
        return self.given

    def _next(self) -> dict[str, Any] | None:
        return self._call(lambda: self.page.get("api/next", {}))["item"]

    def react(self, item: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """What is sent about an item on the screen: (path, body)."""
        prompt = "\n".join(self._whole(item, "prompt", index, text) for index, text in enumerate(item["prompt"]))
        answers = [self._whole(item, "answers", index, text) for index, text in enumerate(item["answers"])]
        screen = (prompt, *answers)
        self._seen[screen] += 1  # the same screen again, a hidden repeat perhaps, gets slips of its own
        draws = numpy_generator(self.seed, "annotator", self.name, self._seen[screen], *screen)
        body = {"id": _id(self.seed, self.name, item["assignment"], self.given), "assignment": item["assignment"]}
        if draws.random() < self.habits.skip_rate:
            return "api/skip", body
        ended = [bool(text["has_ended"]) for text in item["answers"]]
        values, has_read = self._opinion(draws, prompt, answers, ended)
        ranking = ranked(values)
        strength = 0
        if self.habits.asks_strength and len(ranking) > 1:
            strength = int(min(3, max(1, round(max(values) - min(values)))))
        median = self.habits.seconds if has_read else self.habits.hasty_seconds
        seconds = round(float(median * np.exp(draws.normal(0, 0.4))), 2)
        return "api/judge", body | {"ranking": ranking, "strength": strength, "seconds": seconds}

    def _opinion(
        self, draws: np.random.Generator, prompt: str, answers: Sequence[str], ended: Sequence[bool]
    ) -> tuple[list[float], bool]:
        """A value for each place on the screen, and whether the texts were read for it."""
        habits, draw = self.habits, float(draws.random())
        number = len(answers)
        if draw < habits.side_rate:
            return [float(number - place) for place in range(number)], False
        if draw < habits.side_rate + habits.guess_rate:
            return [float(place) for place in draws.permutation(number)], False
        if draw < habits.side_rate + habits.guess_rate + habits.tie_rate:
            return [0.0] * number, False
        values = [float(value) for value in self.taste(prompt, answers, ended)]
        return ([-value for value in values] if draws.random() < habits.flip_rate else values), True

    def _whole(self, item: Mapping[str, Any], part: str, index: int, shown: Mapping[str, Any]) -> str:
        """A text as the page shows it, the rest of a long one asked for."""
        text = str(shown["text"])
        while len(text) < shown["length"]:
            query = {"assignment": item["assignment"], "part": part, "index": index, "start": len(text)}
            more = self._call(lambda query=query: self.page.get("api/text", query))["text"]
            if not more:
                break
            text += more
        return text

    def _call(self, request: Callable[[], tuple[int, dict[str, Any]]]) -> dict[str, Any]:
        """The answer to a request, tried again where the page would; RunError where the server says no."""
        problem = ""
        for attempt in range(_TRIES):
            try:
                status, answer = request()
            except RunError as error:
                problem = str(error)
            else:
                if status < 400:
                    return answer
                problem = str(answer.get("error", status))
                if status != 429 and status < 500:
                    break
            time.sleep(min(0.05 * 2**attempt, 2.0))
        raise RunError(f"{self.name}: {problem}")


def ranked(values: Sequence[float]) -> list[list[int]]:
    """Places by value, the highest first, equal ones together."""
    order = sorted(range(len(values)), key=lambda place: (-values[place], place))
    return [list(group) for _, group in groupby(order, key=values.__getitem__)]


def _id(*parts: object) -> str:
    """The id of an action, as a page would make one, but the same again for the same action."""
    return hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).hexdigest()
