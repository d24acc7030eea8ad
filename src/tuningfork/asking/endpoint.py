"""An OpenAI-compatible endpoint: `POST url/chat/completions`, several at once, with retries and caps on tokens and cost.

The key comes from the user's environment. It goes to the host of the recipe's `url` alone: redirects are not followed,
plain http is refused with a key unless the host is this machine, and a recipe that names a host runs after `--trust`.
Every request carries an `Idempotency-Key`, the same for each attempt: a server that knows it answers a question whose
answer was lost on the way without doing, or charging for, the work again.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import urlsplit

from tuningfork.asking.asker import Asking, Question, Spent, cost_of
from tuningfork.asking.keys import key_for
from tuningfork.asking.replies import Reply
from tuningfork.asking.settings import EndpointSettings, ReplySampling
from tuningfork.errors import ModelError
from tuningfork.randomness import derive_seed

_PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_LONGEST_WAIT = 60.0
_LARGEST_BODY = 16 << 20
_TOP_LOGPROBS = 20


class Endpoint:
    """Asks an endpoint. ModelError at once for an address or a key that cannot be used."""

    def __init__(
        self, settings: EndpointSettings, sampling: ReplySampling, wait_for: Callable[[float], None] = time.sleep
    ) -> None:
        self.settings, self.sampling, self._wait = settings, sampling, wait_for
        parts = urlsplit(settings.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ModelError(f"url: {settings.url!r} is no address; give one such as https://api.example.com/v1")
        self.name = f"{settings.model} at {parts.netloc}"
        self._url = settings.url.rstrip("/") + "/chat/completions"
        self._key, self._key_name = key_for(parts.hostname, parts.scheme, settings.key_env)
        self._opener = urllib.request.build_opener(_NoRedirects)

    def ask(self, questions: Sequence[Question], asking: Asking) -> None:
        """Up to `concurrency` requests at once; none is sent that could pass the cap. After a fault nothing new is sent,
        replies under way are kept, then the fault is raised."""
        waiting, under_way, fault = list(enumerate(questions)), dict[Future[Reply], tuple[int, Spent]](), None
        spent = asking.spent
        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            while True:
                while (
                    waiting and fault is None and not asking.is_stopped() and len(under_way) < self.settings.concurrency
                ):
                    number, question = waiting[0]
                    largest = self._spent(_largest_prompt(question.text), self._reply_limit(question))
                    if self._passes_a_cap(spent, largest, *(most for _, most in under_way.values())):
                        break
                    waiting.pop(0)
                    under_way[pool.submit(self._request, question, asking)] = number, largest
                if not under_way:
                    break
                for done in wait(under_way, return_when=FIRST_COMPLETED).done:
                    number, _ = under_way.pop(done)
                    if (error := done.exception()) is not None:
                        fault = fault or error
                        continue
                    reply = done.result()
                    used = self._spent(reply.prompt_tokens, reply.reply_tokens)
                    spent = Spent(spent.tokens + used.tokens, spent.cost + used.cost)
                    asking.keep(number, reply)
        if fault is not None:
            raise fault

    def _spent(self, prompt_tokens: int, reply_tokens: int) -> Spent:
        return Spent(prompt_tokens + reply_tokens, cost_of(self.settings, prompt_tokens, reply_tokens) or 0.0)

    def _passes_a_cap(self, *spent: Spent) -> bool:
        cap = self.settings.cost_cap
        tokens, cost = sum(one.tokens for one in spent), math.fsum(one.cost for one in spent)
        return tokens > self.settings.token_cap or (cap is not None and cost > cap)

    def _reply_limit(self, question: Question) -> int:
        return 1 if question.labels else self.sampling.max_new_tokens

    def _body(self, question: Question, seed: int) -> bytes:
        """Without randomness for labels: their probabilities are those of temperature 1 whatever is drawn."""
        temperature = 0.0 if question.labels else self.sampling.temperature
        body: dict[str, Any] = {
            "model": self.settings.model,
            "messages": [{"role": "user", "content": question.text}],
            "max_tokens": self._reply_limit(question),
            "temperature": temperature,
            "top_p": 1.0 if question.labels else self.sampling.top_p,
        }
        if question.labels:
            body |= {"logprobs": True, "top_logprobs": _TOP_LOGPROBS}
        if temperature > 0:
            body["seed"] = seed
        return json.dumps(body).encode()

    def _request(self, question: Question, asking: Asking) -> Reply:
        body = self._body(question, derive_seed(asking.seed, asking.purpose, question.id) & 0x7FFFFFFF)
        headers = {"Content-Type": "application/json", "Idempotency-Key": hashlib.sha256(body).hexdigest()}
        headers |= {"Authorization": f"Bearer {self._key}"} if self._key else {}
        request = urllib.request.Request(self._url, body, headers, method="POST")
        why = ""
        for attempt in range(self.settings.retries + 1):
            seconds = self.settings.backoff * 2**attempt
            try:
                with self._opener.open(request, timeout=self.settings.timeout) as response:
                    return _reply(_read(response, self.settings.timeout), body, question.labels)
            except _NoCompletion as error:
                why = f"does not answer with a chat completion ({error})"
            except urllib.error.HTTPError as error:
                said = " ".join(error.read(2000).decode("utf-8", "replace").split())[:200]
                why = f"answers {error.code} {error.reason}{f' ({said})' if said else ''}"
                if error.code not in _PASSING:
                    raise ModelError(self._safe(f"{self._url} {why}; {self._advice(error.code)}")) from None
                seconds = _retry_after(error.headers.get("Retry-After"), seconds)
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", error)
                why = f"cannot be reached: {reason or type(error).__name__}"
                if isinstance(reason, TimeoutError):
                    why = f"does not answer within {self.settings.timeout:g} s"
            if attempt < self.settings.retries:
                self._wait(min(seconds, _LONGEST_WAIT))
        raise ModelError(
            self._safe(
                f"{self._url} {why}, {self.settings.retries + 1} times; check url, or give the same command later: it goes on "
                "and pays for nothing twice"
            )
        )

    def _safe(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text

    def _advice(self, code: int) -> str:
        if code in (401, 403):
            return (
                f"check the key in {self._key_name}" if self._key_name else "bind its key in keys.yaml, or give key_env"
            )
        return "check url and model"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host; it becomes the HTTPError it is."""

    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        return None


class _NoCompletion(Exception):
    """What came is no chat completion: garbage, or an answer that was cut."""


def _read(response: http.client.HTTPResponse, seconds: float) -> bytes:
    """The body of a response; TimeoutError where it takes longer altogether, however steadily it drips."""
    parts, size, end = list[bytes](), 0, time.monotonic() + seconds
    while size < _LARGEST_BODY and (part := response.read1(1 << 16)):
        if time.monotonic() > end:
            raise TimeoutError
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _reply(content: bytes, body: bytes, labels: Sequence[str]) -> Reply:
    """The reply in a chat completion. Where the endpoint does not say what it used, bytes count as tokens: never too few."""
    try:
        found = json.loads(content)
        choice = found["choices"][0]
        text = choice["message"]["content"] or ""
        usage = found.get("usage") or {}
        used = int(usage.get("prompt_tokens", len(body))), int(usage.get("completion_tokens", len(text.encode())))
        if not isinstance(text, str):
            raise TypeError("content is no text")
        label_logprobs = _label_logprobs(choice, labels) if labels else None
        return Reply(text, choice.get("finish_reason") == "stop", *used, label_logprobs)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _NoCompletion(f"it begins {content[:80].decode('utf-8', 'replace')!r}") from error


def _label_logprobs(choice: Mapping[str, Any], labels: Sequence[str]) -> dict[str, float] | None:
    """Log-probabilities of the labels from the likeliest first tokens, with and without a space before them."""
    told = (choice.get("logprobs") or {}).get("content")
    if not told:
        return None
    found: dict[str, list[float]] = {}
    for entry in told[0]["top_logprobs"]:
        label = str(entry["token"]).strip()
        if label in labels:
            found.setdefault(label, []).append(float(entry["logprob"]))
    return {label: math.log(math.fsum(map(math.exp, values))) for label, values in found.items()}


def _largest_prompt(text: str) -> int:
    """Tokens that a prompt can have at most: a token stands for a byte or more; and what a template puts around it."""
    return len(text.encode()) + 64


def _retry_after(header: str | None, otherwise: float) -> float:
    return float(header) if header and header.strip().isdecimal() else otherwise
