"""The card on the page: sentences, plots, tables; everything escaped, nonsense left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tuningfork.evals.card_settings import CardSettings
from tuningfork.evals.feedback import Compared
from tuningfork.evals.reward_card import Measured, build_card
from tuningfork.report.folder import read_run
from tuningfork.report.page import render_page
from tuningfork.report.plots import point_chart, reliability_chart, share_chart
from tuningfork.report.reward_card import reward_cards


def made_up(hostile: str = "books") -> dict[str, Any]:
    """A card of 40 comparisons that is right in a third, from sources of which one is hostile."""
    comparisons = [
        Compared(2 * n, 2 * n + 1, f"r{n}", float(n % 3), hostile if n % 2 else "chats", "a") for n in range(40)
    ]
    scores = [-float((n * 7) % 11) for n in range(80)]
    answers = ["word " * ((n * n) % 13 + 1) for n in range(80)]
    measured = Measured(answers, ["q"] * 80, [f"r{n // 2}" for n in range(80)], scores, comparisons,
                        probes={"<i>echo</i>": {"beats": 0.7, "n": 9}})  # fmt: skip
    return build_card(measured, CardSettings(), 0.5, seed=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in ((1, "reward"), (2, "other")):
        stage = tmp_path / f"{number}-{name}"
        stage.mkdir()
        (stage / "manifest.json").write_text(json.dumps({"id": name, "kind": "reward"}))
    (tmp_path / "1-reward" / "card.json").write_text(json.dumps(made_up("<script>alert(1)</script>")))
    return tmp_path


def test_view(folder: Path) -> None:
    (card,) = reward_cards(read_run(folder))
    assert card.stage == "reward" and not card.is_usable and card.sentences[0].startswith("Not usable")
    titles = [plot.title for plot in card.plots]
    assert titles == [
        "By how much better it was found",
        "By how much longer the better one is",
        "By source",
        "Against rules and other models",
        "How often its probability comes true",
        "Score and how people rated",
    ]
    assert card.probes == [("<i>echo</i>", "0.700")]


def test_page(folder: Path) -> None:
    page = render_page(read_run(folder))
    assert "The reward model&#39;s card" in page or "The reward model's card" in page
    assert "<script>alert" not in page and "<i>echo" not in page and "Not usable" in page
    (folder / "2-other" / "card.json").write_text(json.dumps(made_up()))
    assert "<h3>other</h3>" in render_page(read_run(folder))


ODD = '{"verdict": {"sentences": ["x"]}, "accuracy": [], "relation": {"points": [3]}}'


@pytest.mark.parametrize("broken", ["[1]", "{", '{"verdict": 3}', ODD])
def test_a_broken_card_does_not_break_the_page(folder: Path, broken: str) -> None:
    (folder / "1-reward" / "card.json").write_text(broken)
    assert "reward" in render_page(read_run(folder))


def test_plots() -> None:
    bars = share_chart([("a", 0.8, (0.7, 0.9)), ("b" * 40, 0.4, (0.3, 0.45)), ("c", 0.5, None)], "title")
    assert bars.count("<circle") == 3 and 'class="dot good"' in bars and 'class="dot bad"' in bars and "…" in bars
    assert reliability_chart([(0.6, 0.55, 10), (0.9, 0.3, 2)], "t").count("<circle") == 2
    assert point_chart([(1, 2), (3, 4), (5, 5)], "t", "rating").count("<circle") == 3
    assert share_chart([], "t") == reliability_chart([], "t") == point_chart([(1, 1)], "t", "x") == ""
