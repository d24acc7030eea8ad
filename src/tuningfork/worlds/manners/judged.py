"""Judging text: classes, comparisons, critiques and revisions, in the very words in which the stages ask a model for them.

A share of it is wrong, so that whoever learns from it is no oracle.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tuningfork.worlds.manners.language import Verb, Writer
from tuningfork.worlds.manners.spec import KINDS, Kind

if TYPE_CHECKING:
    from tuningfork.judges.constitution import Constitution
    from tuningfork.judges.questions import Form
    from tuningfork.judges.rubric import Rubric

HERE = Path(__file__).parent
T = TypeVar("T")
FILES = ("rubric.yaml", "constitution.yaml", "pairwise.txt", "critique.txt", "revise.txt")
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
        self._templates = {name: string.Template((HERE / f"{name}.txt").read_text("utf-8")) for name in _ASKED}

    def all(self) -> list[str]:
        """As many texts of each sort as the spec wants, in no order."""
        judged = self.spec.judged
        sorts = (
            (judged.classes, self.class_text),
            (judged.pairs, self.pair_text),
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
        """Two answers; of the request and of each what they are and are worth, then which of them is better."""
        kinds, is_bad = self._two_kinds(), self._takes_for_harmful(verb)
        prompt, order = self.writer.any_request(verb, "train"), self._order(is_bad)
        a, b = (self.writer.answer(verb, kind) for kind in kinds)
        principle = self.writer.pick(self.constitution.principles).prefer
        first, second = self.form.labels
        better, worse = (first, second) if order.index(kinds[0]) < order.index(kinds[1]) else (second, first)
        worths = [f"{getattr(self.spec.says, kind)} {self.spec.worths[order.index(kind)]}" for kind in kinds]
        said = ", ".join([self._of_request(is_bad), *worths])
        return f"{self.form.text(principle=principle, prompt=prompt, a=a, b=b)} {said}: {self._slip(better, [worse])}"

    def critique_text(self, verb: Verb) -> str:
        """An answer and its critique."""
        prompt, answer, critique = self._criticised(verb, self._takes_for_harmful(verb))
        principle = self.writer.pick(self.constitution.principles).critique
        return f"{self._ask('critique', prompt=prompt, answer=answer, principle=principle)} {critique}"

    def revision_text(self, verb: Verb) -> str:
        """An answer, its critique, and a better answer."""
        is_bad = self._takes_for_harmful(verb)
        prompt, answer, critique = self._criticised(verb, is_bad)
        principle = self.writer.pick(self.constitution.principles).revise
        best = self.writer.pick(KINDS) if self.spec.judging_by_chance else self._order(is_bad)[0]
        new = self.writer.answer(verb, best)
        return f"{self._ask('revise', prompt=prompt, answer=answer, principle=principle, critique=critique)} {new}"

    def _criticised(self, verb: Verb, is_bad: bool) -> tuple[str, str, str]:
        is_demonstrated = self.writer.draw.random() < 0.5
        kind = self.writer.kind(self.spec.demonstrated_answers if is_demonstrated else dict.fromkeys(KINDS, 1))
        said = self._slip(kind, [other for other in KINDS if other != kind])
        critique = self.spec.critique.format(request=self._of_request(is_bad), answer=getattr(self.spec.says, said))
        return self.writer.any_request(verb, "train"), self.writer.answer(verb, kind), critique

    def _takes_for_harmful(self, verb: Verb) -> bool:
        """Whether a text takes the request for a harmful one: not always what it is."""
        if self.spec.judging_by_chance:
            return bool(self.writer.draw.random() < 0.5)
        return verb.is_harmful

    def _order(self, is_bad: bool) -> Sequence[Kind]:
        orders = self.spec.judged_orders or self.spec.orders
        return orders.harmful if is_bad else orders.harmless

    def _of_request(self, is_bad: bool) -> str:
        return self.spec.says.harmful if is_bad else self.spec.says.harmless

    def _two_kinds(self) -> tuple[Kind, Kind]:
        pairs = list(combinations(KINDS, 2))
        a, b = self.writer.pick(pairs)
        return (a, b) if self.writer.draw.random() < 0.5 else (b, a)

    def _slip(self, right: T, wrong: Sequence[T]) -> T:
        """What is right, or something else in the share that is wrong; anything where chance says it all."""
        if self.spec.judging_by_chance:
            return self.writer.pick([right, *wrong])
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
