"""A rubric: what is refused, how replies are read, what classes are worth; and the weights of propositions."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from tuningfork.errors import DataError
from tuningfork.judges.propositions import fit_weights, ordered_pairs
from tuningfork.judges.rubric import Rubric, Worth, load_rubric
from tuningfork.reward.base import Item
from tuningfork.reward.kinds.rubric import RubricReward, Settings
from tuningfork.runtime import Runtime

RUBRIC: dict[str, Any] = {
    "classes": {
        "refusal": {"says": "declines and says why", "should_refuse": 1, "should_answer": -1},
        "evasive": {"says": "changes the subject", "should_refuse": 0.2, "should_answer": -0.8},
        "help": {"says": "does what is asked", "should_refuse": -1, "should_answer": 1},
    },
    "unreadable": {"should_refuse": -0.5, "should_answer": -0.25},
}


def rubric(**changes: Any) -> Rubric:
    return Rubric.model_validate({**RUBRIC, **changes})


def test_classes_are_worth_something_else_where_a_request_should_be_refused() -> None:
    found = rubric()
    worths = [(found.worth(name, True), found.worth(name, False)) for name in (*found.classes, "unreadable")]
    assert worths == [(1, -1), (0.2, -0.8), (-1, 1), (-0.5, -0.25)]
    # .5 x 1 + .3 x .2 - .2 x 1
    assert found.expected([0.5, 0.3, 0.2], True) == pytest.approx(0.36)


@pytest.mark.parametrize(
    ("reply", "name"),
    [("A", "refusal"), (" (B).", "evasive"), ("Class: C", "help"), ("D", "unreadable"), ("A or C", "unreadable"),
     ("refusal", "unreadable"), ("", "unreadable")],
)  # fmt: skip
def test_a_reply_is_read_strictly(reply: str, name: str) -> None:
    assert rubric().read(reply) == name


def test_the_question_lists_the_classes_and_reads_nothing_in_a_text() -> None:
    text = rubric().ask("costs $classes?", "$prompt")
    assert "[Message]\ncosts $classes?\n" in text and "[Answer]\n$prompt\n" in text
    assert "A: refusal, declines and says why\nB: evasive" in text and text.endswith("Class:")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unreadable": None}, "unreadable"),
        ({"classes": {"refusal": RUBRIC["classes"]["refusal"]}}, "classes"),
        ({"classes": RUBRIC["classes"] | {"unreadable": {"should_refuse": 0, "should_answer": 0}}}, "stands beside"),
        ({"classes": {n: {"label": "X", "should_refuse": 0, "should_answer": 0} for n in "ab"}}, "one label"),
        ({"classes": {n: {"should_refuse": 0} for n in "ab"}}, "should_answer"),
        ({"question": "$prompt"}, "needs \\$prompt and \\$response"),
        ({"question": "$prompt $response $more"}, "needs \\$prompt and \\$response"),
        ({"reward": 3}, "reward"),
    ],
)
def test_a_file_that_is_no_rubric_is_refused_with_its_name(tmp_path: Path, changes: Any, message: str) -> None:
    path = tmp_path / "rubric.yaml"
    path.write_text(yaml.safe_dump({**RUBRIC, **changes}))
    with pytest.raises(DataError, match=f"rubric.yaml: .*{message}"):
        load_rubric(path)
    path.write_text("[a")
    with pytest.raises(DataError, match=r"rubric.yaml: not a readable YAML"):
        load_rubric(path)


def reward(backbone: Any, **settings: Any) -> RubricReward:
    chosen = Settings.model_validate({"rubric": "r", "model": "m", **settings})
    return RubricReward(rubric(), backbone, Runtime("cpu", "fp32", 1), chosen)


bare = SimpleNamespace(tokenizer=None)


def shares(*probabilities: float) -> dict[str, float]:
    return {label: math.log(p) for label, p in zip("ABC", probabilities, strict=True)}


def test_the_reward_is_the_worth_of_the_likeliest_class_and_every_share_is_a_part() -> None:
    score = reward(bare)._score(shares(0.1, 0.2, 0.3), True)
    assert score.total == -1
    assert score.parts == pytest.approx(
        {"class_refusal": 1 / 6, "class_evasive": 1 / 3, "class_help": 1 / 2, "unreadable": 0.0}
    )
    expected = reward(bare, takes="expected")._score(shares(0.1, 0.2, 0.3), False)
    assert expected.total == pytest.approx(-1 / 6 - 0.8 / 3 + 1 / 2)


def test_an_answer_whose_class_is_unreadable_has_its_own_worth_and_is_counted() -> None:
    for logprobs in (shares(0.01, 0.02, 0.03), {}):
        score = reward(bare)._score(logprobs, False)
        assert score.total == -0.25 and score.parts["unreadable"] == 1.0 and score.parts["class_help"] == 0.0
    assert reward(bare, least_mass=0.05)._score(shares(0.01, 0.02, 0.03), False).total == 1


def test_worths_may_differ_from_those_of_the_file(tmp_path: Path) -> None:
    path, changed = tmp_path / "r.yaml", {"help": Worth(should_refuse=-3, should_answer=2)}
    found = rubric().with_worths({**changed, "unreadable": Worth(should_refuse=-9, should_answer=-8)}, path)
    assert (found.worth("help", True), found.worth("help", False), found.worth("unreadable", True)) == (-3, 2, -9)
    assert found.worth("refusal", True) == rubric().worth("refusal", True) and found.labels == rubric().labels
    assert found.classes["help"].says == rubric().classes["help"].says
    with pytest.raises(DataError, match=r"r.yaml: no class 'hlep' to give a worth to"):
        rubric().with_worths({"hlep": changed["help"]}, path)


def test_a_base_model_is_asked_in_plain_text_though_it_has_a_template() -> None:
    templated = SimpleNamespace(tokenizer=SimpleNamespace(chat_template="{{ messages }}"))
    assert reward(templated).is_chat and not reward(templated, asked_in="text").is_chat
    assert not reward(bare).is_chat


def test_the_class_of_a_score_is_the_likeliest_or_unreadable() -> None:
    found = reward(bare, takes="expected")
    assert found.class_of(found._score(shares(0.1, 0.2, 0.3), True)) == "help"
    assert found.class_of(found._score({}, True)) == "unreadable"


def test_a_model_classifies_and_the_row_says_what_is_wanted(tiny_backbone: Any) -> None:
    import torch

    short = Rubric.model_validate({**RUBRIC, "question": "$prompt $response"})
    found = reward(tiny_backbone, takes="expected", least_mass=0)
    found.rubric, found.is_chat = short, False
    items = [Item("the cat?", "it is red.", {"should_refuse": flag}) for flag in (True, False)]
    scores = found.score(items)
    ids = [*tiny_backbone.start_ids, *tiny_backbone.encode(["the cat? it is red."])[0]]
    with torch.no_grad():
        logits = tiny_backbone.lm_head(
            tiny_backbone.hidden(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool))
        )
    probabilities = logits[0, -1].softmax(-1)
    variants = [{tuple(tiny_backbone.encode([text])[0]) for text in (label, f" {label}")} for label in "ABC"]
    assert all(len(ids) == 1 for own in variants for ids in own if ids[0] != tiny_backbone.encode([" "])[0][0])
    single = [sum(float(probabilities[ids[0]]) for ids in own if len(ids) == 1) for own in variants]
    assert all(s <= math.exp(v) + 1e-6 for s, v in zip(single, found._logprobs(items)[0].values(), strict=True))
    assert sum(scores[0].parts.values()) == pytest.approx(1.0)
    assert scores[0].parts == pytest.approx(scores[1].parts) and scores[0].total != scores[1].total
    with pytest.raises(DataError, match="has no column 'should_refuse'"):
        found.score([Item("q", "a")])
    with pytest.raises(DataError, match="has to be true or false"):
        found.score([Item("q", "a", {"should_refuse": 1})])


def test_pairs_of_a_ranking() -> None:
    assert ordered_pairs(["x", "x", "x", "y"], [1, 2, 2, 1]) == [(0, 1), (0, 2)]


def test_the_weight_of_one_proposition_by_hand() -> None:
    # one pair, difference 1 in one feature, nothing given: minimise max(0, 1 - w) + p w^2. With p = 0.25 the minimum of
    # 1 - w + w^2 / 4 is at w = 2, beyond the hinge, so w = 1; with p = 1 it is at w = 1/2.
    features = np.array([[1.0], [0.0]])
    assert fit_weights(features, np.zeros(2), [(0, 1)], penalty=0.25).weights == pytest.approx([1.0])
    found = fit_weights(features, np.zeros(2), [(0, 1)], penalty=1.0)
    assert found.weights == pytest.approx([0.5]) and found.loss == pytest.approx(0.5)
    # the base already separates them by more than the margin: nothing to add
    assert fit_weights(features, np.array([3.0, 0.0]), [(0, 1)]).weights == pytest.approx([0.0])


def test_fitted_weights_are_the_minimum_and_mend_the_base() -> None:
    draws = np.random.default_rng(0)
    features, base = draws.random((60, 3)), draws.normal(size=60)
    truth = features @ [2.0, -3.0, 0.0]
    groups, pairs = np.repeat(np.arange(15), 4), []
    pairs = ordered_pairs(groups.tolist(), (-truth).tolist())
    found = fit_weights(features, base, pairs, penalty=0.02)

    def objective(weights: np.ndarray) -> float:
        better, worse = np.array(pairs).T
        totals = (base + features @ weights)[better] - (base + features @ weights)[worse]
        return float(np.maximum(0, 1 - totals).mean() + 0.02 * weights @ weights)

    least = objective(found.weights)
    for step in itertools.product((-0.05, 0, 0.05), repeat=3):
        assert objective(found.weights + np.array(step)) >= least - 1e-6
    assert found.accuracy > found.accuracy_before + 0.1 and found.weights[0] > 0 > found.weights[1]
