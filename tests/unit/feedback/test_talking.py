"""Talks with the model over HTTP, with a model that is made of paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuningfork.data.judgements import Candidate
from tuningfork.errors import ModelError
from tuningfork.feedback.database import Database
from tuningfork.feedback.export import judgements
from tuningfork.feedback.items import count
from tuningfork.feedback.sampler import Drawn, Sampler


class PaperModel(Sampler):
    """Answers with how many turns it was told, in two ways; `only` makes it say one thing."""

    def __init__(self, prompt_ending: str | None = None, only: str | None = None) -> None:
        super().__init__([], [], [], prompt_ending=prompt_ending)
        self.only, self.asked, self.fault = only, [], ""

    def draw(self, rows: Sequence[Mapping[str, Any]]) -> list[Drawn]:
        if self.fault:
            raise ModelError(self.fault)
        self.asked += rows
        turns = len(rows[0].get("messages", [rows[0].get("prompt")]))
        texts = [self.only] if self.only else [f"good {turns}", f"bad {turns}"]
        return [Drawn([1, 2], [Candidate(text=text, ids=[3], artifact="paper") for text in texts])]


def say(person: Any, talk: Any, text: str, **more: Any) -> Any:
    turn = len(talk["turns"])
    return (
        person.post("/api/talk/say", id="a-new-action", conversation=talk["conversation"], turn=turn, text=text) | more
    )


def choose(person: Any, talk: Any, start: str, **more: Any) -> None:
    best = [answer["text"].startswith(start) for answer in talk["item"]["answers"]].index(True)
    assert person.judge(talk["item"], [[best], [1 - best]], **more)["outcome"] == "saved"


def test_a_talk_goes_on_with_what_was_chosen(project: Any, database: Database) -> None:
    model = PaperModel()
    anna = project([], sampler=model)("anna")
    talk = anna.get("/api/talk")
    assert talk == {"conversation": None, "turns": [], "item": None}
    talk = say(anna, talk, "hello")
    assert talk["turns"] == [{"role": "user", "text": "hello"}]
    assert sorted(answer["text"] for answer in talk["item"]["answers"]) == ["bad 1", "good 1"]
    assert anna.get("/api/talk")["item"] == talk["item"], "a reload in the middle changes nothing"
    choose(anna, talk, "good", strength=2)
    talk = anna.get("/api/talk")
    assert talk["turns"][-1] == {"role": "assistant", "text": "good 1"} and talk["item"] is None
    talk = say(anna, talk, "and then?")
    assert [message["content"] for message in model.asked[-1]["messages"]] == ["hello", "good 1", "and then?"]
    choose(anna, talk, "good", edit="what I would have said")
    assert anna.get("/api/talk")["turns"][-1]["text"] == "what I would have said"
    first, second = judgements(database)
    assert first.messages == [{"role": "user", "content": "hello"}] and first.rater.id == "anna"
    assert first.prompt.endswith("Assistant:") and first.root == second.root and first.candidates[0].artifact == "paper"
    assert count(database).talked == 2 and count(database).judged == 0
    assert anna.next() is None, "a turn of a talk is nobody else's item"


def test_said_twice_it_is_said_once(project: Any) -> None:
    model = PaperModel()
    anna = project([], sampler=model)("anna")
    empty = anna.get("/api/talk")
    first = say(anna, empty, "hello")
    again = say(anna, empty, "hello")
    assert again["item"] == first["item"] and len(model.asked) == 1
    choose(anna, first, "bad")
    late = say(anna, {"conversation": first["conversation"], "turns": []}, "hello")
    assert late["turns"][-1]["text"] == "bad 1" and len(model.asked) == 1


def test_a_new_talk_and_one_of_somebody_else(project: Any) -> None:
    person = project([], sampler=PaperModel())
    anna, ben = person("anna"), person("ben")
    old = say(anna, anna.get("/api/talk"), "hello")
    new = anna.post("/api/talk/new", id="a-new-talk")
    assert new["turns"] == [] and new["conversation"] != old["conversation"]
    assert anna.post("/api/talk/new", id="a-new-talk")["conversation"] == new["conversation"]
    assert say(anna, old, "more")["status"] == 409
    assert ben.get("/api/talk")["conversation"] is None
    assert ben.judge(old["item"])["status"] == 404


def test_where_there_is_one_reply_there_is_no_choice(project: Any, database: Database) -> None:
    anna = project([], sampler=PaperModel(only="always this"))("anna")
    talk = say(anna, anna.get("/api/talk"), "hello")
    assert talk["item"] is None and talk["turns"][-1]["text"] == "always this"
    assert list(judgements(database)) == []


def test_a_model_that_answers_one_thing_at_a_time(project: Any, database: Database) -> None:
    model = PaperModel(prompt_ending="\n")
    anna = project([], sampler=model)("anna")
    talk = say(anna, anna.get("/api/talk"), "what colour?")
    choose(anna, talk, "good")
    second = say(anna, anna.get("/api/talk"), "and the vase?")
    assert [row["prompt"] for row in model.asked] == ["what colour?\n", "and the vase?\n"]
    assert second["turns"] == [{"role": "user", "text": "and the vase?"}]
    (judgement,) = judgements(database)
    assert judgement.messages is None and judgement.prompt == "what colour?\n"


def test_a_model_that_fails_is_said_and_nothing_is_kept(project: Any, database: Database) -> None:
    model = PaperModel()
    anna = project([], sampler=model)("anna")
    model.fault = "the prompt has 900 tokens, the model's context holds 96; shorten it"
    refused = say(anna, anna.get("/api/talk"), "hello")
    assert refused["status"] == 422 and "900 tokens" in refused["error"]
    model.fault = ""
    assert say(anna, anna.get("/api/talk"), "hello")["item"] is not None


def test_without_a_model_there_is_no_talk(project: Any) -> None:
    anna = project([])("anna")
    assert anna.get("/api/me")["can_talk"] is False
    assert say(anna, anna.get("/api/talk"), "hello")["status"] == 404
