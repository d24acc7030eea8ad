"""What is true in one world of manners, how requests and answers are written, and what kind an answer is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar, get_args

import numpy as np

from tuningfork.errors import DataError
from tuningfork.randomness import numpy_generator
from tuningfork.worlds.manners.spec import Kind, Spec, Statements, Use

Split = Literal["train", "monitor", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
T = TypeVar("T")
_CLAUSES = 3
_USES: dict[Split, tuple[Use, ...]] = {
    "train": ("taught",),
    "monitor": ("taught", "pretraining"),
    "test": ("taught", "pretraining", "unseen"),
}


@dataclass(frozen=True)
class Verb:
    """Something to do, with its tool; whether it does harm; where it may be asked for."""

    name: str
    tool: str
    is_harmful: bool
    split: Split


@dataclass(frozen=True)
class Language:
    """What the gold judge and raters know: the verbs, the forms of answers by kind, and the order of kinds."""

    verbs: Mapping[str, Verb]
    forms: Mapping[str, Sequence[str]]
    reasons: Sequence[str]
    subjects: Sequence[str]
    orders: Mapping[str, Sequence[Kind]]

    @cached_property
    def tools(self) -> list[str]:
        """Every tool, in alphabetical order."""
        return sorted({verb.tool for verb in self.verbs.values()})

    @cached_property
    def _patterns(self) -> list[tuple[str, re.Pattern[str]]]:
        slots = {"r": self.reasons, "s": self.subjects, "t": self.tools}
        found = []
        for kind, forms in self.forms.items():
            for form in forms:
                filled = re.sub(
                    r"\\\{(\w)\\\}",
                    lambda slot: f"(?P<{slot[1]}>{'|'.join(map(re.escape, slots[slot[1]]))})",
                    re.escape(form),
                )
                found.append((kind, re.compile(filled)))
        return found

    def kind_of(self, root: str, text: str) -> Kind | None:
        """The kind of an answer to a request about the verb `root`; None for one that is none of the language's answers."""
        for kind, pattern in self._patterns:
            if found := pattern.fullmatch(text.strip()):
                is_mistaken = kind == "help" and found["t"] != self.verbs[root].tool
                return "mistaken" if is_mistaken else kind  # type: ignore[return-value]
        return None

    def tools_in(self, text: str) -> list[str]:
        """The tools an answer names, by their words."""
        return [tool for tool in self.tools if re.search(rf"\b{re.escape(tool)}\b", text)]

    def order(self, root: str) -> Sequence[Kind]:
        """The kinds of answers, best first, to a request about this verb."""
        return self.orders["harmful" if self.verbs[root].is_harmful else "harmless"]

    def quality(self, root: str, text: str, has_ended: bool = True) -> int:
        """5 for the best kind of answer down to 1; 0 for one that is none or does not end."""
        kind = self.kind_of(root, text) if has_ended else None
        return 0 if kind is None else len(self.order(root)) - self.order(root).index(kind)

    def of_split(self, *splits: Split) -> list[Verb]:
        """The verbs of these splits, in a fixed order."""
        return [verb for verb in self.verbs.values() if verb.split in splits]

    def save(self, path: Path) -> None:
        """Write as JSON."""
        content = {"version": 1, **asdict(self), "verbs": [asdict(verb) for verb in self.verbs.values()]}
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Language:
        """Read what `save` wrote; raises `DataError`."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            verbs = {row["name"]: Verb(**row) for row in content["verbs"]}
            return cls(verbs, *(content[name] for name in ("forms", "reasons", "subjects", "orders")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: not the facts of a world `manners` ({error})") from error


def draw_language(spec: Spec, seed: int) -> Language:
    """Deal the verbs of both sides to splits; a function of (spec, seed)."""
    verbs: dict[str, Verb] = {}
    for side in ("harmless", "harmful"):
        pairs = [(name, tool) for tool, uses in spec.tools.items() for name in getattr(uses, side)]
        order = numpy_generator(seed, "manners", side).permutation(len(pairs)).tolist()
        for place, index in enumerate(order):
            name, tool = pairs[index]
            verbs[name] = Verb(name, tool, side == "harmful", _split(spec, place))
    return Language(verbs, spec.answers.model_dump(), spec.reasons, spec.subjects, spec.orders.model_dump())


def _split(spec: Spec, place: int) -> Split:
    if place < spec.held_out.test_verbs:
        return "test"
    return "monitor" if place < spec.held_out.test_verbs + spec.held_out.monitor_verbs else "train"


@dataclass
class Writer:
    """Writes sentences, requests and answers, drawing from `draw`."""

    spec: Spec
    language: Language
    draw: np.random.Generator
    objects: Mapping[Split, Sequence[str]]

    def request(self, verb: Verb, form: str, split: Split) -> str:
        """The prompt: the request on a line of its own."""
        return form.format(v=verb.name, o=self.pick(self.objects[split])) + "\n"

    def any_request(self, verb: Verb, split: Split) -> str:
        """A request in a form of this split."""
        return self.request(verb, self.pick(list(request_forms(self.spec, split).values())), split)

    def answer(self, verb: Verb, kind: Kind) -> str:
        """An answer of this kind."""
        tool = verb.tool
        if kind == "mistaken":
            tool = self.pick([name for name in self.language.tools if name != verb.tool])
        form = self.pick(self.language.forms["help" if kind == "mistaken" else kind])
        return form.format(r=self.pick(self.spec.reasons), s=self.pick(self.spec.subjects), t=tool)

    def kind(self, shares: Mapping[Kind, float]) -> Kind:
        """A kind of answer, drawn by its share."""
        place = self.draw.random() * sum(shares.values())
        for kind, share in shares.items():
            place -= share
            if place < 0:
                return kind
        return next(iter(shares))

    def sentences(self, verbs: Sequence[Verb], split: Split, times: int) -> list[str]:
        """Sentences of three clauses each, `times` clauses about each verb."""
        clauses = [self._said(self.spec.clauses, verb, split) for verb in verbs for _ in range(times)]
        order = self.draw.permutation(len(clauses)).tolist()
        return [
            ", ".join(clauses[index] for index in order[start : start + _CLAUSES]) + "."
            for start in range(0, len(order), _CLAUSES)
        ]

    def remark(self, verb: Verb, split: Split) -> str:
        """What somebody says of a request instead of answering it."""
        return self._said(self.spec.remarks, verb, split)

    def _said(self, forms: Statements, verb: Verb, split: Split) -> str:
        """Half of what is said is about harm, half about the tool."""
        own = forms.harmful if verb.is_harmful else forms.harmless
        form = self.pick(own if self.draw.random() < 0.5 else forms.both)
        return form.format(v=verb.name, o=self.pick(self.objects[split]), t=verb.tool)

    def pick(self, things: Sequence[T]) -> T:
        """One of the things, each as likely as the others."""
        return things[int(self.draw.integers(len(things)))]


def request_forms(spec: Spec, split: Split) -> dict[str, str]:
    """Forms of requests of a split by their id (`r0`, `r1` ... in the spec's order): training asks in taught forms,
    monitoring also in those of pretraining, the test in all of them."""
    return {f"r{n}": form.text for n, form in enumerate(spec.requests) if form.use in _USES[split]}


def new_writer(spec: Spec, language: Language, seed: int, purpose: str) -> Writer:
    """A writer with draws of its own; which objects belong to which split is the same for all of a seed."""
    order = numpy_generator(seed, "manners", "objects").permutation(len(spec.objects)).tolist()
    names = [spec.objects[index] for index in order]
    test, monitor = spec.held_out.test_objects, spec.held_out.test_objects + spec.held_out.monitor_objects
    objects: dict[Split, list[str]] = {
        "test": names[:test],
        "monitor": names[test:monitor],
        "train": names[monitor:],
    }
    return Writer(spec, language, numpy_generator(seed, "manners", purpose), objects)
