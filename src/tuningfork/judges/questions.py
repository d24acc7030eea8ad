"""How a model is asked for a judgement, and how strictly its reply is read."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Sequence, Set
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from tuningfork.asking.labels import label_shares
from tuningfork.asking.replies import Reply
from tuningfork.errors import DataError
from tuningfork.judges.base import Opinion

_NEEDED = {"pairwise": {"prompt", "a", "b"}, "pointwise": {"prompt", "a"}}
_LABELS = {"pairwise": ("A", "B"), "pointwise": ("1", "2", "3", "4", "5")}


@dataclass(frozen=True)
class Form:
    """A question with places for prompt and answers, and the labels that answer it."""

    template: str
    labels: tuple[str, ...]
    identity: str
    """name and content hash, for provenance"""

    def text(self, **values: str) -> str:
        """The question; what a value holds is never read as a place again. Empty lines left by an empty value go."""
        filled = string.Template(self.template).substitute(values).strip()
        return filled if values.get("principle") else re.sub(r"\n{3,}", "\n\n", filled)

    def choice(self, reply: Reply) -> Opinion:
        """The probability of the first label; from the text, strictly, where none was told."""
        shares = label_shares(reply.label_logprobs, self.labels)
        if shares is not None:
            reasons = "" if reply.text.strip() in self.labels else f"{reply.text.strip()} "
            return Opinion(shares[0], f"{reasons}{self.labels[0]} {shares[0]:.3f}")
        said = last_label(reply.text, self.labels)
        return Opinion(None if said is None else float(said == self.labels[0]), reply.text.strip())

    def rating(self, reply: Reply) -> Opinion:
        """The expected rating from 0 (the first label) to 1 (the last)."""
        top = len(self.labels) - 1
        shares = label_shares(reply.label_logprobs, self.labels)
        if shares is not None:
            mean = sum(place * share for place, share in enumerate(shares)) / top
            return Opinion(mean, f"rating {1 + mean * top:.2f}")
        said = last_label(reply.text, self.labels)
        return Opinion(None if said is None else self.labels.index(said) / top, reply.text.strip())

    def preferred(self, a: Opinion, b: Opinion) -> Opinion:
        """A preference from two ratings: 1 or 0 for the higher one, .5 where they are equal."""
        note = f"{a.note} | {b.note}"
        if a.probability is None or b.probability is None:
            return Opinion(None, note)
        return Opinion(0.5 + 0.5 * ((a.probability > b.probability) - (a.probability < b.probability)), note)


def load_form(asks: Literal["pairwise", "pointwise"], file: str | None, labels: Sequence[str] | None) -> Form:
    """The question of a file, or the one of the package; DataError where it lacks a place or has an unknown one."""
    text = load_template(asks, file, _NEEDED[asks], {"principle"}).template
    name = asks if file is None else Path(file).stem
    identity = f"{name}@{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return Form(text, tuple(labels or _LABELS[asks]), identity)


def load_template(name: str, file: str | None, needed: Set[str], optional: Set[str] = frozenset()) -> string.Template:
    """The question of a file, or the one of the package by its name; DataError where it lacks a place or has an unknown one."""
    if file is None:
        return shipped_template(name)
    template = string.Template(Path(file).read_text(encoding="utf-8"))
    if not template.is_valid():
        raise DataError(f"{file}: a dollar sign that names nothing; write $$ for a dollar sign")
    found = set(template.get_identifiers())
    if missing := needed - found:
        raise DataError(f"{file}: the question lacks ${' and $'.join(sorted(missing))}")
    if unknown := found - needed - optional:
        raise DataError(f"{file}: the question has ${' and $'.join(sorted(unknown))}, which nothing fills")
    return template


def shipped_template(name: str) -> string.Template:
    """A question that comes with the package, a file of `prompts/`."""
    return string.Template((files("tuningfork.judges") / "prompts" / f"{name}.txt").read_text(encoding="utf-8"))


def last_label(text: str, labels: Sequence[str]) -> str | None:
    """The label that a reply is or ends with, as a word by itself; None where it ends with none, or with several.

    `A`, `(A)`, `**B**.`, `Reasons ... so the better one is B` say a label; `A or B`, `Apple` and `neither` do not.
    """
    words = re.findall(r"\w+", text)
    if not words or words[-1] not in labels:
        return None
    is_doubtful = len(words) >= 3 and words[-2].lower() in ("or", "and") and words[-3] in labels
    return None if is_doubtful else words[-1]
