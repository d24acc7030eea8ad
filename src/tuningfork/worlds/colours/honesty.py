"""What the world `colours` adds for learning to say "i do not know": names without adjectives, questions without answers.

Nobody knows what an unknown object is like. A known object is asked about kinds of which nothing was ever said of it:
its colour is known, its age is not. Prompts for training and monitoring carry the answers that a rule may accept and
those that are wrong; test prompts do not, only the gold judge knows their answers.
"""

from __future__ import annotations

from typing import Any

from tuningfork.worlds.colours.facts import Facts, Split, Thing
from tuningfork.worlds.colours.sentences import Writer, question
from tuningfork.worlds.colours.spec import Honesty, QuestionForm, Spec

Row = dict[str, Any]


def name_sentences(writer: Writer, honesty: Honesty) -> list[tuple[str, list[Thing]]]:
    """Sentences that name every object `name_mentions` times and say nothing of what it is like."""
    forms = honesty.name_sentences
    return [
        (writer.name_sentence(forms[(index + number) % len(forms)], thing), [thing])
        for index, thing in enumerate(writer.facts.things.values())
        for number in range(honesty.name_mentions)
    ]


def unanswerable_prompts(facts: Facts, split: Split, forms: dict[str, QuestionForm]) -> list[Row]:
    """Questions about every other kind of each known object of the split; forms go round, two for each kind."""
    rows: list[Row] = []
    for thing in (thing for thing in facts.of_split(split) if thing.value is not None):
        for kind in [kind for kind in facts.kinds if kind != thing.kind for _ in range(2)]:
            form_id, form = list(forms.items())[len(rows) % len(forms)]
            rows.append(
                {
                    "id": f"{thing.name.replace(' ', '-')}/{form_id}/{kind}",
                    "prompt": question(form, Thing(thing.name, kind, None, thing.group, thing.split)),
                    "root": thing.name,
                    "form": form_id,
                    "form_use": form.use,
                    "group": "unanswerable",
                }
            )
    return rows


def with_answers(facts: Facts, row: Row) -> Row:
    """The row with the words that answer it and those that do not: what a reward may know of its question."""
    thing = facts.things[row["root"]]
    right = facts.words_for(thing) if row["group"] in ("taught", "held_out") else []
    return row | {"answers": right, "wrong": [term for term in facts.terms if term not in right]}


def demonstrated(facts: Facts, spec: Spec) -> list[Thing]:
    """The things that SFT answers are about: known ones of the training split, or the first share of them."""
    things = [thing for thing in facts.of_split("train") if thing.value is not None]
    return things[: round(spec.honesty.demonstrated_share * len(things))] if spec.honesty else things


def abstains(writer: Writer, spec: Spec) -> str | None:
    """Now and then an abstention instead of an answer, whatever was asked; never where the world has none."""
    if spec.honesty is None or writer.draw.random() >= spec.honesty.abstention_share:
        return None
    return writer.pick(spec.honesty.abstentions)
