"""An OpenAI-compatible endpoint as a teacher: `POST url/chat/completions`, several at once, with retries and a cap.

The key comes from the user's environment. It goes to the host of the recipe's `url` alone: redirects are not followed,
plain http is refused with a key unless the host is this machine, and a recipe that names a host runs after `--trust`.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import urlsplit

from tuningfork.errors import ModelError
from tuningfork.randomness import derive_seed
from tuningfork.teachers.asking import Keep, Question, Reply
from tuningfork.teachers.settings import EndpointTeacher, TeacherSampling

_PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_LONGEST_WAIT = 60.0
_LARGEST_BODY = 16 << 20
_LOCAL = ("localhost", "127.0.0.1", "::1")


class Endpoint:
    """Asks an endpoint. ModelError at once for an address or a key that cannot be used."""

    def __init__(
        self, settings: EndpointTeacher, sampling: TeacherSampling, wait_for: Callable[[float], None] = time.sleep
    ) -> None:
        self.settings, self.sampling, self._wait = settings, sampling, wait_for
        parts = urlsplit(settings.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ModelError(
                f"teacher.url: {settings.url!r} is no address; give one such as https://api.example.com/v1"
            )
        self.name = f"{settings.model} at {parts.netloc}"
        self._url = settings.url.rstrip("/") + "/chat/completions"
        self._key = _key(settings, parts.scheme, parts.hostname)
        self._opener = urllib.request.build_opener(_NoRedirects)

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
        """Up to `concurrency` requests at once; none is sent that could pass the cap. After a fault nothing new is sent,
        replies under way are kept, then the fault is raised."""
        waiting, under_way, fault = list(enumerate(questions)), dict[Future[Reply], tuple[int, int]](), None
        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            while True:
                while waiting and fault is None and not is_stopped() and len(under_way) < self.settings.concurrency:
                    number, question = waiting[0]
                    largest = _largest_prompt(question.text) + self.sampling.max_new_tokens
                    if spent + sum(most for _, most in under_way.values()) + largest > self.settings.token_cap:
                        break
                    waiting.pop(0)
                    body = self._body(question, derive_seed(seed, purpose, question.id) & 0x7FFFFFFF)
                    under_way[pool.submit(self._request, body)] = number, largest
                if not under_way:
                    break
                for done in wait(under_way, return_when=FIRST_COMPLETED).done:
                    number, _ = under_way.pop(done)
                    if (error := done.exception()) is not None:
                        fault = fault or error
                        continue
                    reply = done.result()
                    spent += reply.prompt_tokens + reply.reply_tokens
                    keep(number, reply)
        if fault is not None:
            raise fault

    def _body(self, question: Question, seed: int) -> bytes:
        return json.dumps(
            {
                "model": self.settings.model,
                "messages": [{"role": "user", "content": question.text}],
                "max_tokens": self.sampling.max_new_tokens,
                "temperature": self.sampling.temperature,
                "top_p": self.sampling.top_p,
                "seed": seed,
            }
        ).encode()

    def _request(self, body: bytes) -> Reply:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        request = urllib.request.Request(self._url, body, headers, method="POST")
        why = ""
        for attempt in range(self.settings.retries + 1):
            seconds = self.settings.backoff * 2**attempt
            try:
                with self._opener.open(request, timeout=self.settings.timeout) as response:
                    return _reply(response.read(_LARGEST_BODY), body, self._url)
            except urllib.error.HTTPError as error:
                said = " ".join(error.read(2000).decode("utf-8", "replace").split())[:200]
                why = f"{error.code} {error.reason}{f' ({said})' if said else ''}"
                if error.code not in _PASSING:
                    raise ModelError(
                        self._safe(f"{self._url} answers {why}; {_advice(error.code, self.settings)}")
                    ) from None
                seconds = _retry_after(error.headers.get("Retry-After"), seconds)
            except (OSError, http.client.HTTPException) as error:
                why = str(getattr(error, "reason", error)) or type(error).__name__
            if attempt < self.settings.retries:
                self._wait(min(seconds, _LONGEST_WAIT))
        raise ModelError(
            self._safe(
                f"{self._url}: {why}, {self.settings.retries + 1} times; the same command goes on later and pays for nothing twice"
            )
        )

    def _safe(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host; it becomes the HTTPError it is."""

    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        return None


def _key(settings: EndpointTeacher, scheme: str, host: str) -> str:
    if settings.key_env is None:
        return ""
    if scheme != "https" and host not in _LOCAL:
        raise ModelError(f"teacher.url: {settings.url} would carry the key in the open; use https")
    key = os.environ.get(settings.key_env, "").strip()
    if not key:
        raise ModelError(
            f"teacher.key_env: the environment variable {settings.key_env} is empty; put the key for {host} there"
        )
    return key


def _reply(content: bytes, body: bytes, url: str) -> Reply:
    """The reply in a chat completion. Where the endpoint does not say what it used, bytes count as tokens: never too few."""
    try:
        found = json.loads(content)
        choice = found["choices"][0]
        text = choice["message"]["content"] or ""
        usage = found.get("usage") or {}
        used = int(usage.get("prompt_tokens", len(body))), int(usage.get("completion_tokens", len(text.encode())))
        if not isinstance(text, str):
            raise TypeError("content is no text")
        return Reply(text, choice.get("finish_reason") == "stop", *used)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        start = content[:80].decode("utf-8", "replace")
        raise ModelError(
            f"{url} does not answer with a chat completion (it begins {start!r}); check teacher.url"
        ) from error


def _largest_prompt(text: str) -> int:
    """Tokens that a prompt can have at most: a token stands for a byte or more; and what a template puts around it."""
    return len(text.encode()) + 64


def _retry_after(header: str | None, otherwise: float) -> float:
    return float(header) if header and header.strip().isdecimal() else otherwise


def _advice(code: int, settings: EndpointTeacher) -> str:
    if code in (401, 403):
        return f"check the key in {settings.key_env}" if settings.key_env else "name its key under teacher.key_env"
    return "check teacher.url and teacher.model"
