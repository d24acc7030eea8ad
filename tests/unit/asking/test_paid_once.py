"""What a server does late, twice, or to two runs at once: every question has one reply, and one is paid for."""

from __future__ import annotations

import json
import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from server import Raw, Server, completion, serving

from tuningfork.asking.asker import FILE, Asker, Question
from tuningfork.asking.endpoint import Endpoint
from tuningfork.asking.owner import Owner
from tuningfork.asking.replies import Replies, Reply
from tuningfork.asking.settings import EndpointSettings, ReplySampling
from tuningfork.errors import ModelError
from tuningfork.stage import StageContext

QUESTIONS = [Question(str(number), f"question {number}") for number in range(6)]
GREEDY = ReplySampling(max_new_tokens=50, temperature=0)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNINGFORK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def asker(stage: StageContext, server: Server, **changes: Any) -> Asker:
    values = {"kind": "endpoint", "url": server.url, "model": "big", "token_cap": 100_000, "backoff": 0.001, **changes}
    settings = EndpointSettings(**values)
    return Asker(stage, Endpoint(settings, GREEDY), settings, GREEDY)


def texts(replies: list[Reply | None]) -> list[str]:
    return [reply.text for reply in replies if reply is not None]


def charges(server: Server) -> Counter[str]:
    """How often a server that knows the header charges for each question: once a key, however many attempts."""
    paid = {
        (headers["Idempotency-Key"], prompt) for headers, prompt in zip(server.headers, server.prompts, strict=True)
    }
    return Counter(prompt for _, prompt in paid)


def test_a_reply_that_comes_after_the_timeout_is_asked_for_again_and_stored_once(
    cache: Path, make_stage: Callable[..., StageContext]
) -> None:
    late, lock = Counter[str](), threading.Lock()

    def say(body: Any) -> str:
        prompt = body["messages"][0]["content"]
        with lock:
            late[prompt] += 1
            attempt = late[prompt]
        if attempt == 1:
            time.sleep(0.4)  # the client has left by then; the answer is written all the same
        return f"{prompt}, attempt {attempt}"

    with serving(say) as server:
        found = asker(make_stage("judge"), server, timeout=0.15, concurrency=6)
        replies = found.ask("judge", QUESTIONS)
        time.sleep(0.4)  # the late answers come now
        assert texts(replies) == [f"question {n}, attempt 2" for n in range(6)], "nothing is lost"
        assert len(Replies(cache / FILE)) == 6 and found.tokens == 6 * 15
        assert charges(server) == {f"question {n}": 1 for n in range(6)}, "every attempt carries the same key"
        again = asker(make_stage("again"), server)
        assert texts(again.ask("judge", QUESTIONS)) == texts(replies) and len(server.bodies) == 12


def test_a_server_that_is_always_late_is_named_with_its_timeout(
    cache: Path, make_stage: Callable[..., StageContext]
) -> None:
    def slowly(body: Any) -> str:
        time.sleep(0.2)
        return "x"

    with serving(slowly) as server, pytest.raises(ModelError, match=r"does not answer within 0\.05 s, 2 times"):
        asker(make_stage("judge"), server, timeout=0.05, retries=1).ask("judge", QUESTIONS[:1])


def test_a_reply_that_drips_has_to_be_there_within_the_timeout(
    cache: Path, make_stage: Callable[..., StageContext]
) -> None:
    answers: list[Any] = [Raw(json.dumps(completion("slow")), drip=0.02), "quick"]
    started = time.monotonic()
    with serving(lambda body: answers.pop(0)) as server:
        replies = asker(make_stage("judge"), server, timeout=0.2).ask("judge", QUESTIONS[:1])
    assert texts(replies) == ["quick"], "no single byte was late, all of them together were"
    assert time.monotonic() - started < 3


def test_a_response_that_is_sent_twice_counts_once(cache: Path, make_stage: Callable[..., StageContext]) -> None:
    with serving(lambda body: Raw(json.dumps(completion(body["messages"][0]["content"])), times=2)) as server:
        found = asker(make_stage("judge"), server)
        assert texts(found.ask("judge", QUESTIONS)) == [q.text for q in QUESTIONS]
        assert found.tokens == 6 * 15 and len(server.bodies) == 6


def test_equal_questions_of_a_batch_are_asked_once(cache: Path, make_stage: Callable[..., StageContext]) -> None:
    twice = [QUESTIONS[0], QUESTIONS[1], Question("another id", "question 0"), QUESTIONS[0]]
    with serving(lambda body: body["messages"][0]["content"]) as server:
        found = asker(make_stage("judge"), server)
        assert texts(found.ask("judge", twice)) == ["question 0", "question 1", "question 0", "question 0"]
        assert sorted(server.prompts) == ["question 0", "question 1"] and found.tokens == 2 * 15


def test_questions_are_asked_in_their_order(cache: Path, make_stage: Callable[..., StageContext]) -> None:
    with serving(lambda body: "x") as server:
        asker(make_stage("judge"), server, concurrency=1).ask("judge", QUESTIONS)
    assert server.prompts == [q.text for q in QUESTIONS], "a cap leaves the last ones unasked, not any"


def test_runs_that_ask_the_same_at_once_pay_once(cache: Path, make_stage: Callable[..., StageContext]) -> None:
    def slowly(body: Any) -> str:
        time.sleep(0.05)
        return body["messages"][0]["content"]

    with serving(slowly) as server:
        together = threading.Barrier(3)

        def ask(number: int) -> list[str]:
            found = asker(make_stage(f"judge {number}"), server)
            together.wait()
            return texts(found.ask("judge", QUESTIONS[number:] + QUESTIONS[:number]))

        with ThreadPoolExecutor(3) as pool:
            asked = list(pool.map(ask, range(3)))
    assert [sorted(one) for one in asked] == [[q.text for q in QUESTIONS]] * 3
    assert Counter(server.prompts) == {q.text: 1 for q in QUESTIONS}
    assert not list(cache.glob("*.lock")), "nothing is left behind"


def test_what_another_run_left_unasked_is_asked(cache: Path, make_stage: Callable[..., StageContext]) -> None:
    """The first run's cap is reached while the second waits for it."""
    arrived, go_on = threading.Event(), threading.Event()

    def say(body: Any) -> str:
        arrived.set()
        assert go_on.wait(5)
        return body["messages"][0]["content"]

    with serving(say) as server, ThreadPoolExecutor(2) as pool:
        most = len("question 0") + 64 + 50
        first = pool.submit(lambda: asker(make_stage("a"), server, token_cap=most).ask("judge", QUESTIONS))
        assert arrived.wait(5)
        second = pool.submit(lambda: asker(make_stage("b"), server).ask("judge", QUESTIONS))
        go_on.set()
        assert first.result(5).count(None) == 5 and len(texts(second.result(5))) == 6
    assert Counter(server.prompts) == {q.text: 1 for q in QUESTIONS}


def _claim_and_die(path: Path, claimed: Any) -> None:
    with Replies(path).claimed(["a", "b"]) as keys:
        claimed.put(sorted(keys))
        time.sleep(60)


def test_what_a_killed_run_was_asking_is_free_again(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_claim_and_die, args=(tmp_path / FILE, queue))
    process.start()
    assert queue.get(timeout=10) == ["a", "b"]
    replies = Replies(tmp_path / FILE)
    with replies.claimed(["b", "c"]) as mine:
        assert mine == {"c"}
    process.kill()
    process.join()
    with replies.claimed(["b", "c"]) as mine:
        assert mine == {"b", "c"} and len(list(tmp_path.glob("*.lock"))) == 1
    with Owner(tmp_path) as one:
        assert one.is_alive(one.name) and not one.is_alive("nobody")
