"""The endpoint: what is sent, where the key goes, what is tried again, and where the cap on tokens stops."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from server import Raw, completion, serving

from tuningfork.asking.asker import Asking, Question, Spent
from tuningfork.asking.endpoint import Endpoint
from tuningfork.asking.replies import Reply
from tuningfork.asking.settings import EndpointSettings, ReplySampling
from tuningfork.errors import ModelError, RecipeError
from tuningfork.recipe import load_recipe
from tuningfork.trust import require_trust

QUESTIONS = [Question(str(number), f"question {number}") for number in range(6)]


def settings(url: str, **changes: Any) -> EndpointSettings:
    return EndpointSettings(**{"kind": "endpoint", "url": url, "model": "big", "token_cap": 100_000, **changes})


def ask(
    teacher: EndpointSettings, questions: list[Question] = QUESTIONS, **changes: Any
) -> tuple[dict[int, Reply], list[float]]:
    waited: list[float] = []
    replies: dict[int, Reply] = {}
    endpoint = Endpoint(teacher, ReplySampling(max_new_tokens=50, temperature=0.5), wait_for=waited.append)
    endpoint.ask(questions, Asking(0, "answer", replies.__setitem__, **changes))
    return replies, waited


def test_requests_replies_and_usage() -> None:
    with serving(lambda body: body["messages"][0]["content"].upper()) as server:
        replies, _ = ask(settings(server.url))
    assert replies == {n: Reply(f"QUESTION {n}", True, 10, 5) for n in range(6)}
    body = next(body for body in server.bodies if body["messages"][0]["content"] == "question 0")
    assert (body["model"], body["max_tokens"], body["temperature"], body["top_p"]) == ("big", 50, 0.5, 1.0)
    assert len({body["seed"] for body in server.bodies}) == 6 and "Authorization" not in server.headers[0]


def test_several_at_once_and_no_more() -> None:
    def slowly(body: Any) -> str:
        time.sleep(0.1)
        return "x"

    with serving(slowly) as server:
        ask(settings(server.url, concurrency=3))
    assert 2 <= server.most_at_once <= 3


def test_a_reply_that_was_cut_or_does_not_say_what_it_used() -> None:
    with serving(lambda body: completion("né", "length", usage=None)) as server:
        replies, _ = ask(settings(server.url), QUESTIONS[:1])
    assert not replies[0].has_ended and replies[0].reply_tokens == 3 and replies[0].prompt_tokens > len("question 0")


def test_the_key_comes_from_the_environment_and_stays_with_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        serving(lambda body: "stolen") as thief,
        serving(lambda body: (302, f"{thief.url}/chat/completions")) as server,
    ):
        teacher = settings(server.url, key_env="BIG_KEY")
        with pytest.raises(ModelError, match="environment variable BIG_KEY is empty"):
            ask(teacher)
        monkeypatch.setenv("BIG_KEY", "hush-hush")
        with pytest.raises(ModelError, match="302"):
            ask(teacher, QUESTIONS[:1])
    assert server.headers[0]["Authorization"] == "Bearer hush-hush" and thief.bodies == []
    with pytest.raises(ModelError, match="would carry the key in the open; use https"):
        ask(settings("http://api.example.com/v1", key_env="BIG_KEY"))
    with pytest.raises(ModelError, match="is no address"):
        ask(settings("api.example.com/v1"))


def test_a_refusal_is_not_tried_again_and_names_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIG_KEY", "hush-hush")
    with (
        serving(lambda body: (401, "wrong key hush-hush")) as server,
        pytest.raises(ModelError, match=r"401 Unauthorized \(wrong key \*\*\*\); check the key in BIG_KEY"),
    ):
        ask(settings(server.url, key_env="BIG_KEY"), QUESTIONS[:1])
    assert len(server.bodies) == 1


def test_faults_that_pass_are_tried_again_and_wait_longer_each_time() -> None:
    answers: list[Any] = [(503, "busy"), (500, "busy"), (429, "slow down"), "at last"]
    with serving(lambda body: answers.pop(0)) as server:
        replies, waited = ask(settings(server.url, backoff=0.5), QUESTIONS[:1])
    assert replies[0].text == "at last" and waited == [0.5, 1.0, 7.0]
    with (
        serving(lambda body: (503, "busy")) as server,
        pytest.raises(ModelError, match=r"503 .*3 times; .*the same command"),
    ):
        ask(settings(server.url, retries=2), QUESTIONS[:1])
    with pytest.raises(ModelError, match="refused, 1 times"):
        ask(settings(server.url, retries=0), QUESTIONS[:1])


@pytest.mark.parametrize("garbage", ['{"hello": 1}', '{"choices": []}', "<html>busy</html>", "", '{"choices": [{"mess'])
def test_garbage_is_asked_again_and_refused_in_the_end(garbage: str) -> None:
    answers: list[Any] = [Raw(garbage), "at last"]
    with serving(lambda body: answers.pop(0)) as server:
        replies, waited = ask(settings(server.url), QUESTIONS[:1])
    assert replies[0].text == "at last" and waited == [1.0]
    with (
        serving(lambda body: Raw(garbage)) as server,
        pytest.raises(ModelError, match=r"does not answer with a chat completion .*, 2 times; check url"),
    ):
        ask(settings(server.url, retries=1), QUESTIONS[:1])


def test_a_connection_that_is_cut_is_asked_again() -> None:
    answers: list[Any] = [Raw(json.dumps(completion("half")), cut=20), Raw("", cut=0), "whole"]
    with serving(lambda body: answers.pop(0)) as server:
        replies, waited = ask(settings(server.url), QUESTIONS[:1])
    assert replies[0].text == "whole" and len(waited) == 2


def test_every_attempt_carries_the_same_key_and_every_question_its_own() -> None:
    answers: list[Any] = [(503, "busy"), "a", "b"]
    with serving(lambda body: answers.pop(0)) as server:
        ask(settings(server.url, concurrency=1), QUESTIONS[:2])
    keys = [headers["Idempotency-Key"] for headers in server.headers]
    assert keys[0] == keys[1] != keys[2]


def test_probabilities_of_labels_come_from_the_likeliest_first_tokens() -> None:
    top = [
        {"token": token, "logprob": math.log(p)} for token, p in (("A", 0.3), (" A", 0.2), ("B", 0.1), ("Apple", 0.3))
    ]
    told = completion("A")
    told["choices"][0]["logprobs"] = {"content": [{"token": "A", "logprob": -1.2, "top_logprobs": top}]}
    questions = [Question("1", "which?", ("A", "B", "C"))]
    with serving(lambda body: told) as server:
        replies, _ = ask(settings(server.url), questions)
    body = server.bodies[0]
    assert (body["logprobs"], body["top_logprobs"], body["max_tokens"], body["temperature"]) == (True, 20, 1, 0.0)
    assert replies[0].label_logprobs == pytest.approx({"A": math.log(0.5), "B": math.log(0.1)})
    with serving(lambda body: "B") as server:
        assert ask(settings(server.url), questions)[0][0].label_logprobs is None, "the endpoint does not tell"


def test_a_cap_on_the_cost() -> None:
    prices = {"prompt_price": 1e6, "reply_price": 2e6}  # a prompt token costs 1, a reply token 2
    most = len("question 0") + 64 + 2 * 50
    with serving(lambda body: completion("x", usage=(10, 5))) as server:
        assert len(ask(settings(server.url, cost_cap=20 + most, concurrency=1, **prices))[0]) == 2
        assert ask(settings(server.url, cost_cap=most, **prices), spent=Spent(0, 1.0))[0] == {}
    with pytest.raises(ValidationError, match="cost_cap needs"):
        settings("https://a.example/v1", cost_cap=1.0)


def test_a_key_that_is_bound_to_a_host_goes_to_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNINGFORK_CONFIG", str(tmp_path))
    monkeypatch.setenv("BIG_KEY", "hush-hush")
    (tmp_path / "keys.yaml").write_text("127.0.0.1: BIG_KEY\n")
    with serving(lambda body: "x") as server:
        ask(settings(server.url), QUESTIONS[:1])
        assert server.headers[0]["Authorization"] == "Bearer hush-hush", "the recipe names no key"
        with pytest.raises(ModelError, match=r"binds BIG_KEY to 127\.0\.0\.1; it is not sent to localhost"):
            ask(settings(server.url.replace("127.0.0.1", "localhost"), key_env="BIG_KEY"), QUESTIONS[:1])
    (tmp_path / "keys.yaml").write_text("127.0.0.1: sk-123\n")
    with pytest.raises(ModelError, match=r"keys\.yaml: needs lines"):
        ask(settings("http://127.0.0.1:9/v1"), QUESTIONS[:1])


def test_the_cap_is_never_passed_and_counts_what_was_spent_before() -> None:
    most = len("question 0") + 64 + 50
    with serving(lambda body: completion("x", usage=(10, 50))) as server:
        replies, _ = ask(settings(server.url, token_cap=60 + most))
        assert len(replies) == 2 and sum(r.prompt_tokens + r.reply_tokens for r in replies.values()) <= 60 + most
        assert ask(settings(server.url, token_cap=60 + most), spent=Spent(61))[0] == {}


def test_replies_under_way_are_kept_when_another_fails() -> None:
    def say(body: Any) -> Any:
        if body["messages"][0]["content"] == "question 0":
            return 400, "no"
        time.sleep(0.2)
        return "kept"

    kept: dict[int, Reply] = {}
    with serving(say) as server, pytest.raises(ModelError, match="400"):
        Endpoint(settings(server.url, concurrency=3), ReplySampling()).ask(QUESTIONS, Asking(0, "p", kept.__setitem__))
    assert set(kept) == {1, 2} and len(server.bodies) == 3


def test_a_recipe_with_a_host_runs_after_trust_in_host_and_key_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNINGFORK_CONFIG", str(tmp_path / "config"))
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a"}\n')
    path = tmp_path / "r.yaml"
    path.write_text(
        "version: 1\nname: r\nstages:\n- ask:\n    prompts: rows.jsonl\n    teacher: {kind: endpoint, url: 'https://a.example/v1', "
        "model: m, token_cap: 5, key_env: A_KEY}\n"
    )
    said: list[str] = []
    with pytest.raises(RecipeError, match=r"sends data to a host that is not trusted yet \(ask.teacher.url\)"):
        require_trust(load_recipe(path), said.append, trust=False)
    assert "https://a.example/v1 with the key in A_KEY" in said[0]
    require_trust(load_recipe(path), said.append, trust=True)
    require_trust(load_recipe(path), said.append, trust=False)
    for change in ("ask.teacher.url=https://b.example/v1", "ask.teacher.key_env=B_KEY"):
        with pytest.raises(RecipeError, match="not trusted yet"):
            require_trust(load_recipe(path, [change]), said.append, trust=False)
