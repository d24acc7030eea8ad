"""The audit: every kind of finding on data made to have it, and none on data that is good."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tuningfork.data.audit import audit
from tuningfork.data.findings import AuditReport, Finding
from tuningfork.data.rows import TokenRow
from tuningfork.data.token_audit import TokenizerFacts, Tokens, pieces
from tuningfork.errors import DataError

Row = dict[str, Any]
PAD, BOS, EOS = 0, 1, 2
FACTS = TokenizerFacts(PAD, EOS, BOS, (EOS,), 8, lambda ids: " ".join(map(str, ids)))


def placed(rows: list[Row]) -> list[tuple[str, Row]]:
    return [(f"f:{number}", row) for number, row in enumerate(rows, 1)]


def look(rows: list[Row], shape: str, **more: Any) -> AuditReport:
    return audit(placed(rows), shape, source="f", **more)


def found(report: AuditReport, name: str) -> Finding:
    return next(one for one in report.findings if one.name == name)


def pairs(count: int) -> list[Row]:
    """Different questions of different words with different answers."""
    return [
        {"prompt": f"what is a{n} b{n * 7} c{n * 13}?", "completion": f"it is d{n * 3} e{n * 5} f{n * 11}"}
        for n in range(count)
    ]


def test_good_data_has_no_findings() -> None:
    report = look(pairs(100), "prompt_completion")
    assert report.findings == () and report.rows == 100 and 0 < report.supervised_share < 1
    assert report.lines()[-1] == "no problem found" and len(report.examples) == 10
    report.check()


@pytest.mark.parametrize(
    ("rows", "shape", "name", "severity", "count"),
    [
        ([*pairs(30), {"prompt": "", "completion": "x y"}], "prompt_completion", "empty_prompt", "warn", 1),
        ([*pairs(30), {"prompt": "p", "completion": " \n"}], "prompt_completion", "empty_answer", "warn", 1),
        (
            [{"prompt": f"p{n}", "completion": ""} for n in range(5)],
            "prompt_completion",
            "nothing_supervised",
            "stop",
            5,
        ),
        ([*pairs(30), *pairs(3)], "prompt_completion", "duplicates", "warn", 3),
        (
            [
                *pairs(30),
                {"prompt": "please say this sentence again", "completion": "please say this sentence again: ok"},
            ],
            "prompt_completion",
            "prompt_in_answer",
            "warn",
            1,
        ),
        (
            [{"prompt": f"p {n}", "completion": "yes" if n < 15 else f"no {n}"} for n in range(25)],
            "prompt_completion",
            "one_answer",
            "warn",
            15,
        ),
        ([{"text": ""}, {"text": "a b c"}], "text", "empty_text", "warn", 1),
        ([{"text": "a", "label": 1}, {"text": "A ", "label": 0}], "labelled", "contradictory_labels", "warn", 2),
        ([{"text": "a", "label": 1}, {"text": "b", "label": 1}], "labelled", "one_label", "stop", 2),
        (
            [{"prompt": "p", "completion": "c", "label": True}, {"prompt": "q", "completion": "d", "label": True}],
            "unpaired",
            "one_label",
            "stop",
            2,
        ),
        (
            [{"prompt": "p", "chosen": "a", "rejected": "a "}, {"prompt": "p", "chosen": "a", "rejected": "b"}],
            "preference",
            "identical_pairs",
            "warn",
            1,
        ),
        ([{"prompt": "p", "chosen": "a", "rejected": "a"}], "preference", "identical_pairs", "stop", 1),
        (
            [{"prompt": "p", "chosen": "a", "rejected": "b"}, {"prompt": "p", "chosen": "b", "rejected": "a"}],
            "preference",
            "contradictory_pairs",
            "warn",
            2,
        ),
        (
            [{"prompt": f"p{n}", "chosen": "long" * (n + 2), "rejected": "s"} for n in range(60)],
            "preference",
            "chosen_longer",
            "warn",
            60,
        ),
        (
            [{"prompt": "p", "answers": ["a", "b", "a"], "ranks": [1, 2, 3]}],
            "ranking",
            "contradictory_pairs",
            "warn",
            2,
        ),
        ([{"text": "mail me: ada@home.org"}], "text", "email", "warn", 1),
        (
            [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]}],
            "conversation",
            "empty_answer",
            "warn",
            1,
        ),
    ],
)
def test_findings(rows: list[Row], shape: str, name: str, severity: str, count: int) -> None:
    one = found(look(rows, shape), name)
    assert (one.severity, one.count) == (severity, count)
    num_good = 30 if rows[:30] == pairs(30) else 0
    at_fault = [f"f:{min(num_good + number, len(rows))}" for number in range(1, count + 1)]
    assert list(one.places) == at_fault[:3], "the first three rows at fault, which stand behind the good ones"


def test_near_duplicates_say_of_what() -> None:
    text = " ".join(f"word{n}" for n in range(50))
    one = found(look([{"text": text}, {"text": "else " * 9}, {"text": text + " end"}], "text"), "near_duplicates")
    assert one.places == ("f:3 like f:1",) and one.count == 1


def test_evaluation_rows_in_the_training_data() -> None:
    held = [
        pairs(3)[1],
        {"prompt": pairs(3)[2]["prompt"], "completion": "another"},
        {"prompt": "new", "completion": "x"},
    ]
    report = look(pairs(30), "prompt_completion", evaluation=[(f"e:{n}", row) for n, row in enumerate(held, 1)])
    assert found(report, "evaluation_rows_in_training").places == ("e:1",)
    assert found(report, "evaluation_prompts_in_training").places == ("e:2",)


def test_figures_of_pairs_and_labels() -> None:
    report = look([{"prompt": "p", "answers": ["aa", "b", "c"], "ranks": [1, 2, 2]}], "ranking")
    assert report.figures == {"pairs": 2, "chosen_longer_share": 1.0}
    report = look([{"text": t, "label": y} for t, y in (("a", "x"), ("b", "x"), ("c", "y"))], "labelled")
    assert report.figures == {"labels": {"x": 2, "y": 1}}


def row(ids: list[int], targets: str) -> TokenRow:
    return TokenRow(ids, [mark == "1" for mark in targets])


GOOD = row([BOS, 5, 6, EOS], "0011")


@pytest.mark.parametrize(
    ("rows", "name", "severity", "count"),
    [
        ([row([BOS, 5, EOS], "000")] * 2, "nothing_supervised", "stop", 2),
        ([row([BOS, 5, EOS], "000"), GOOD], "rows_without_target", "warn", 1),
        ([row([BOS, 5, 6, EOS], "0010")] * 3, "no_eos", "stop", 3),
        ([row([BOS, 5, 6], "011"), GOOD], "missing_eos", "warn", 1),
        ([row([BOS, BOS, 6, EOS], "0011")] * 2, "double_bos", "stop", 2),
        ([row([BOS, BOS, 6, EOS], "0011"), GOOD], "double_bos", "warn", 1),
        ([row([5, 6, EOS], "011"), GOOD], "missing_bos", "warn", 1),
        ([row([BOS, *[5] * 8, EOS], "0001111111"), GOOD], "too_long", "warn", 1),
        ([row([BOS, *[5] * 8, EOS], "0000000001"), GOOD], "answers_lost", "warn", 1),
    ],
)
def test_token_findings(rows: list[TokenRow], name: str, severity: str, count: int) -> None:
    tokens = Tokens(rows, FACTS, [f"f:{n}" for n in range(len(rows))])
    report = look(pairs(len(rows)), "prompt_completion", tokens=tokens)
    one = found(report, name)
    assert (one.severity, one.count) == (severity, count)
    if severity == "stop":
        with pytest.raises(DataError, match=name):
            report.check()


def test_padding_with_eos_stops() -> None:
    facts = TokenizerFacts(EOS, EOS, BOS, (EOS,), 8, FACTS.decode)
    report = look(pairs(2), "prompt_completion", tokens=Tokens([GOOD] * 2, facts, ["f:1", "f:2"]))
    assert [one.name for one in report.stops] == ["pad_is_eos"]


def test_token_figures_and_examples() -> None:
    tokens = Tokens([GOOD] * 20, FACTS, [f"f:{n}" for n in range(20)])
    report = look(pairs(20), "prompt_completion", tokens=tokens)
    assert report.supervised_share == 0.5 and report.supervised_unit == "tokens" and report.findings == ()
    assert pieces(GOOD, FACTS) == [["1 5", "context"], ["6 2", "target"]]
    assert report.examples[9] == {"place": "f:18", "pieces": [["1 5", "context"], ["6 2", "target"]]}
    packed = Tokens([row([BOS, 5, EOS, 6, 7], "01111"), row([BOS, 8, 9, 9, 9], "01111")], FACTS)
    assert look(pairs(5), "prompt_completion", tokens=packed).findings == ()


def test_the_report_is_plain_data_with_the_gravest_first() -> None:
    rows = [{"text": "a@b.org", "label": 1}, {"text": "a@b.org", "label": 1}]
    report = look(rows, "labelled")
    plain = json.loads(json.dumps(report.to_json()))
    assert {"shape", "rows", "supervised_share", "problems", "examples", "version"} <= plain.keys()
    assert [p["severity"] for p in plain["problems"]] == sorted(
        (p["severity"] for p in plain["problems"]), key=["stop", "warn", "note"].index
    )
    assert plain["problems"][0]["name"] == "one_label" and plain["problems"][0]["share"] == 1.0
