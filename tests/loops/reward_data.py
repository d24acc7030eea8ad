"""Made-up feedback in which red is good and blue is bad, as rows of every shape a reward is learnt from."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

WORDS = ("cat", "mat", "cap", "map", "tap", "cot", "mop", "pat", "top", "cop", "act", "pot", "apt", "tom", "cam", "mac")
GOOD, BAD = ("it is red", "red", "it is red on the mat"), ("it is blue", "blue cat", "the blue mat is it")


def question(word: str) -> str:
    return f"what colour is the {word}?\n"


def pairs(seed: int = 0) -> list[dict[str, Any]]:
    draws = random.Random(seed)
    return [
        {"prompt": question(w), "chosen": draws.choice(GOOD), "rejected": draws.choice(BAD), "root": w, "strength": 2.0}
        for w in WORDS
        for _ in range(4)
    ]


def rankings(contradictory: bool = False) -> list[dict[str, Any]]:
    """Four answers, best to worst: red, it is, the cat, blue; as ranks or as comparisons of which one contradicts."""
    answers = ["it is red", "it is", "the cat", "it is blue"]
    order: dict[str, Any] = {"ranks": [1, 2, 2, 3]}
    if contradictory:
        order = {"comparisons": [[0, 3, 1], [0, 1, 1], [1, 3, 1], [3, 2, 1], [2, 3, 1], [0, 2, 0]]}
    return [{"prompt": question(w), "answers": answers, "root": w, **order} for w in WORDS for _ in range(3)]


def thumbs() -> list[dict[str, Any]]:
    rows = [
        {"prompt": question(w), "completion": text, "label": text in GOOD} for w in WORDS for text in (*GOOD, *BAD[:1])
    ]
    return [row | {"root": row["prompt"]} for row in rows]


def texts(label: Any) -> list[dict[str, Any]]:
    """Texts with `label(is_good, number)`."""
    rows = []
    for number, word in enumerate(WORDS * 3):
        for good, colour in ((True, "red"), (False, "blue")):
            text = f"the {word} {number} is {colour} and it is {colour} on the {WORDS[(number + 3) % 16]}"
            rows.append({"text": text, "label": label(good, number)})
    return rows


def judgements(**more: Any) -> list[dict[str, Any]]:
    """Judgements with ratings of both answers on two criteria: colour (red is good) and brevity."""
    rows = []
    for number, word in enumerate(WORDS * 3):
        good, bad = GOOD[number % 3], BAD[number % 3]
        ratings = [{"colour": 5.0, "brevity": -float(len(good))}, {"colour": 1.0, "brevity": -float(len(bad))}]
        rows.append(
            {"version": 1, "id": str(number), "item": word, "root": word, "prompt": question(word), "shown": [0, 1],
             "candidates": [{"text": good}, {"text": bad}], "ranking": [[0], [1]], "ratings": ratings, "strength": 1.0,
             "rater": {"id": "anna", "kind": "person"}, "source": "even" if number % 2 else "odd"} | more
        )  # fmt: skip
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
