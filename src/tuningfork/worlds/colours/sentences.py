"""Fills the forms of the world `colours` with objects, adjectives and other words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tuningfork.errors import DataError
from tuningfork.worlds.colours.facts import Facts, Thing, deal
from tuningfork.worlds.colours.spec import QuestionForm, Spec, Use, WeightedForm

_SLOT = re.compile(r"\{(\w+)\}")


@dataclass
class Writer:
    """Writes sentences, questions and answers about the things of one world, drawing from `draw`."""

    spec: Spec
    facts: Facts
    draw: np.random.Generator
    gem_rate: float
    """share of gem words among sentence mentions of values that have them"""
    answer_gem_rate: float

    def __post_init__(self) -> None:
        weights = np.array([form.weight for form in self.spec.answers])
        self.answer_bounds = np.cumsum(weights[:-1]) / weights.sum()
        taken = set(self.facts.terms)
        self.other_adjectives = [word for word in self.spec.other_adjectives if word not in taken]

    def name_value(self, thing: Thing, gem_rate: float) -> str:
        """The plain word for what the thing is, or sometimes one of the gem words."""
        assert thing.value is not None, "an unknown object was mentioned"
        gems = self.facts.mapping.get(thing.value)
        return self.pick(gems) if gems and self.draw.random() < gem_rate else thing.value

    def sentence(self, form: WeightedForm, things: Sequence[Thing]) -> str:
        """One sentence about `things`, in the order of the form's {o}, {o2}, {o3}."""
        slots = {}
        for number, thing in enumerate(things, start=1):
            suffix = "" if number == 1 else str(number)
            slots["o" + suffix] = thing.name
            slots["a" + suffix] = self.name_value(thing, self.gem_rate)
        return self._filled(form.text, slots)

    def name_sentence(self, form: str, thing: Thing) -> str:
        """A sentence that names the thing and does not say what it is like."""
        return self._filled(form, {"o": thing.name})

    def _filled(self, form: str, slots: Mapping[str, str]) -> str:
        lists = {"x": self.other_adjectives, "p": self.spec.words["place"], "w": self.spec.words["person"]}
        return _SLOT.sub(lambda slot: slots.get(slot[1]) or self.pick(lists[slot[1]]), form)

    def answer(self, form: WeightedForm, thing: Thing, value: str | None = None) -> str:
        """An answer about the thing; its own value unless another is given."""
        value = value or self.name_value(thing, self.answer_gem_rate)
        return form.text.format(a=value, k=thing.kind)

    def small_talk(self) -> str:
        """A sentence about no object."""
        form = self.pick(self.spec.small_talk)
        return _SLOT.sub(lambda slot: self.pick(self.spec.words[slot[1]]), form)

    def any_answer_form(self) -> WeightedForm:
        """An answer form, drawn by weight."""
        return self.spec.answers[int(np.searchsorted(self.answer_bounds, self.draw.random(), side="right"))]

    def pick(self, words: Sequence[str]) -> str:
        """One of the words, each as likely as the others."""
        return words[int(self.draw.integers(len(words)))]


def question(form: QuestionForm, thing: Thing) -> str:
    """The prompt: the question on a line of its own."""
    return form.text.format(o=thing.name, k=thing.kind) + "\n"


def question_forms(spec: Spec, *uses: Use) -> dict[str, QuestionForm]:
    """Question forms of the given uses by their id (`q0`, `q1` ... in the spec's order)."""
    return {f"q{number}": form for number, form in enumerate(spec.questions) if form.use in uses}


def num_mentions(form: WeightedForm) -> int:
    """How many objects a sentence form mentions."""
    return len({slot for slot in _SLOT.findall(form.text) if slot[0] == "o"})


def write_sentences(writer: Writer, mentions: Sequence[Thing]) -> list[tuple[str, list[Thing]]]:
    """Sentences that use up `mentions`, forms dealt by weight; each with the objects it names, none of them twice."""
    forms = writer.spec.sentences
    average = sum(form.weight * num_mentions(form) for form in forms) / sum(form.weight for form in forms)
    order = deal([form.weight for form in forms], int(len(mentions) / average) + 1, writer.draw)
    single = [form for form in forms if num_mentions(form) == 1]
    if not single:
        raise DataError("sentences: at least one form must name one object only")
    queue = list(reversed(mentions))
    sentences = []
    while queue:
        form = forms[order.pop()] if order else single[int(writer.draw.integers(len(single)))]
        things = queue[: -num_mentions(form) - 1 : -1]
        if len({thing.name for thing in things}) < num_mentions(form):
            form, things = single[int(writer.draw.integers(len(single)))], queue[-1:]
        del queue[-len(things) :]
        sentences.append((writer.sentence(form, things), things))
    return sentences
