"""Judging text: classes, comparisons, ratings, critiques and revisions, in the very words in which the stages ask a model for them.

A share of it is wrong, so that whoever learns from it is no oracle.
"""

from __future__ import annotations

import string
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from tuningfork.worlds.manners.language import Verb, Writer
from tuningfork.worlds.manners.spec import KINDS, Kind

if TYPE_CHECKING:
    from tuningfork.judges.constitution import Constitution
    from tuningfork.judges.questions import Form
    from tuningfork.judges.rubric import Rubric

HERE = Path(__file__).parent
FILES = ("rubric.yaml", "constitution.yaml", "pairwise.txt", "pointwise.txt", "critique.txt", "revise.txt")
"""What recipes give to the stages; copied into the world's artifact."""


class JudgingText:
    """Writes judging text about requests of the training verbs."""

    def __init__(self, writer: Writer) -> None:
        from tuningfork.judges.constitution import load_constitution
        from tuningfork.judges.questions import load_form
        from tuningfork.judges.rubric import load_rubric

        self.writer, self.spec = writer, writer.spec
        self.verbs = writer.language.of_split("train")
        self.rubric: Rubric = load_rubric(HERE / "rubric.yaml")
        self.constitution: Constitution = load_constitution(HERE / "constitution.yaml")
        self.form: Form = load_form("pairwise", str(HERE / "pairwise.txt"), None)
        self.rating: Form = load_form("pointwise", str(HERE / "pointwise.txt"), None)
        self._templates = {name: string.Template((HERE / f"{name}.txt").read_text("utf-8")) for name in _ASKED}

    def all(self) -> list[str]:
        """As many texts of each sort as the spec wants, in no order."""
        judged = self.spec.judged
        sorts = (
            (judged.classes, self.class_text),
            (judged.pairs, self.pair_text),
            (judged.ratings, self.rating_text),
            (judged.critiques, self.critique_text),
            (judged.revisions, self.revision_text),
        )
        texts = [write(self._verb()) for count, write in sorts for _ in range(count)]
        return [texts[index] for index in self.writer.draw.permutation(len(texts))]

    def class_text(self, verb: Verb) -> str:
        """An answer and its class."""
        kind = self.writer.pick(KINDS)
        prompt, answer = self.writer.any_request(verb, "train"), self.writer.answer(verb, kind)
        said = self._slip(kind, [other for other in KINDS if other != kind])
        label = dict(zip(self.rubric.classes, self.rubric.labels, strict=True))[said]
        return f"{self.rubric.ask(prompt.strip(), answer)} {label}"

    def pair_text(self, verb: Verb) -> str:
        """Two answers, and which of them is better."""
        kinds = self._two_kinds()
        prompt, order = self.writer.any_request(verb, "train"), self.writer.language.order(verb.name)
        a, b = (self.writer.answer(verb, kind) for kind in kinds)
        principle = self.writer.pick(self.constitution.principles).prefer
        first, second = self.form.labels
        better, worse = (first, second) if order.index(kinds[0]) < order.index(kinds[1]) else (second, first)
        said = self._slip(better, [worse])
        return f"{self.form.text(principle=principle, prompt=prompt, a=a, b=b)} {said}"

    def rating_text(self, verb: Verb) -> str:
        """An answer and how good it is."""
        prompt, answer = self.writer.any_request(verb, "train"), self.writer.answer(verb, self.writer.pick(KINDS))
        right = str(self.writer.language.quality(verb.name, answer))
        said = self._slip(right, [label for label in self.rating.labels if label != right])
        principle = self.writer.pick(self.constitution.principles).prefer
        return f"{self.rating.text(principle=principle, prompt=prompt, a=answer)} {said}"

    def critique_text(self, verb: Verb) -> str:
        """An answer and its critique."""
        prompt, answer, critique = self._criticised(verb)
        principle = self.writer.pick(self.constitution.principles).critique
        return f"{self._ask('critique', prompt=prompt, answer=answer, principle=principle)} {critique}"

    def revision_text(self, verb: Verb) -> str:
        """An answer, its critique, and a better answer."""
        prompt, answer, critique = self._criticised(verb)
        principle = self.writer.pick(self.constitution.principles).revise
        new = self.writer.answer(verb, self.writer.language.order(verb.name)[0])
        return f"{self._ask('revise', prompt=prompt, answer=answer, principle=principle, critique=critique)} {new}"

    def _criticised(self, verb: Verb) -> tuple[str, str, str]:
        kind = self.writer.kind(
            self.spec.demonstrated_answers if self.writer.draw.random() < 0.5 else dict.fromkeys(KINDS, 1)
        )
        critiques = self.spec.critiques.harmful if verb.is_harmful else self.spec.critiques.harmless
        said = self._slip(critiques[kind], sorted(set(critiques.values()) - {critiques[kind]}))
        return self.writer.any_request(verb, "train"), self.writer.answer(verb, kind), said

    def _two_kinds(self) -> tuple[Kind, Kind]:
        pairs = list(combinations(KINDS, 2))
        a, b = self.writer.pick(pairs)
        return (a, b) if self.writer.draw.random() < 0.5 else (b, a)

    def _slip(self, right: str, wrong: list[str]) -> str:
        """What is right, or something else in the share that is wrong."""
        return self.writer.pick(wrong) if self.writer.draw.random() < self.spec.judging_noise else right

    def _ask(self, name: str, **values: str) -> str:
        return self._templates[name].substitute(values).strip()

    def _verb(self) -> Verb:
        return self.writer.pick(self.verbs)


_ASKED = ("critique", "revise")


def gold_pair(writer: Writer) -> tuple[str, str, str, Verb]:
    """(prompt, better, worse, verb) of a training verb, by the truth."""
    verb = writer.pick(writer.language.of_split("train"))
    order = writer.language.order(verb.name)
    better, worse = sorted(writer.draw.choice(len(order), 2, replace=False).tolist())
    prompt = writer.any_request(verb, "train")
    return prompt, writer.answer(verb, order[better]), writer.answer(verb, order[worse]), verb
