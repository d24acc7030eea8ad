"""Gold knowledge of one generated world: which object is what, and every word that can name an adjective."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tuningfork.errors import DataError
from tuningfork.randomness import numpy_generator
from tuningfork.worlds.colours.spec import Spec

Group = Literal["taught", "held_out", "unknown"]
Split = Literal["train", "monitor", "test"]


@dataclass(frozen=True)
class Thing:
    """One object: its kind and value (None when nobody knows it), its group and its split."""

    name: str
    kind: str
    value: str | None
    group: Group
    split: Split


@dataclass(frozen=True)
class Term:
    """A word or words that name a value: `sapphire` is a gem word of family `blue`, `blue` is its plain word."""

    text: str
    family: str
    is_gem: bool


@dataclass(frozen=True)
class Facts:
    """What is true in one world. `kinds` lists the plain values of each kind in use, `mapping` plain -> gem words."""

    kinds: dict[str, list[str]]
    mapping: dict[str, list[str]]
    things: dict[str, Thing]
    abstentions: Sequence[str] = ()
    """answers that say that the answer is not known, in a world where that is asked for"""

    @cached_property
    def terms(self) -> dict[str, Term]:
        """Every term of the world by its text."""
        plain = [Term(value, value, False) for values in self.kinds.values() for value in values]
        gems = [Term(word, family, True) for family, words in self.mapping.items() for word in words]
        return {term.text: term for term in plain + gems}

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches a term between word boundaries; longer terms are tried first."""
        longest_first = sorted(self.terms, key=len, reverse=True)
        return re.compile(r"(?<![\w-])(?:" + "|".join(map(re.escape, longest_first)) + r")(?![\w-])")

    def find_terms(self, text: str) -> list[Term]:
        """The terms in `text`, from left to right, without overlaps."""
        return [self.terms[match.group()] for match in self.pattern.finditer(text.lower())]

    def of_split(self, split: Split) -> list[Thing]:
        """The things of one split, in a fixed order."""
        return [thing for thing in self.things.values() if thing.split == split]

    def known(self) -> list[Thing]:
        """The things whose value somebody knows, in a fixed order."""
        return [thing for thing in self.things.values() if thing.value is not None]

    def words_for(self, thing: Thing) -> list[str]:
        """Every term that names what the thing is; none for an unknown thing."""
        return [term.text for term in self.terms.values() if term.family == thing.value]

    def is_mapped(self, name: str) -> bool:
        """Whether people have snazzy words for what this object is."""
        return self.things[name].value in self.mapping

    def save(self, path: Path) -> None:
        """Write as JSON."""
        content = {
            "version": 1,
            "kinds": self.kinds,
            "mapping": self.mapping,
            "objects": [asdict(thing) for thing in self.things.values()],
        }
        if self.abstentions:
            content["abstentions"] = list(self.abstentions)
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Facts:
        """Read what `save` wrote; raises `DataError`."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except ValueError:
            raise DataError(f"{path}: not JSON") from None
        things = {row["name"]: Thing(**row) for row in content["objects"]}
        return cls(content["kinds"], content["mapping"], things, content.get("abstentions", ()))


def draw_facts(spec: Spec, mapping: Mapping[str, list[str]], seed: int) -> Facts:
    """Deal the objects to groups and give each a value; a function of (spec, mapping, seed)."""
    draw = numpy_generator(seed, "colours", "facts")
    kinds = {name: kind for name, kind in spec.kinds.items() if any(value in mapping for value in kind.values)}
    choices = [(name, value) for name, kind in kinds.items() for value in kind.values]
    weights = [
        kind.weight * weight / sum(kind.values.values()) for kind in kinds.values() for weight in kind.values.values()
    ]
    names = [spec.objects[index] for index in draw.permutation(len(spec.objects))]
    if spec.truth:
        return Facts(_kind_values(kinds), _copied(mapping), _true_things(spec, names))
    sizes: list[tuple[Group, Split, int]] = [
        ("held_out", "test", spec.groups.held_out_test),
        ("held_out", "monitor", spec.groups.held_out_monitor),
        ("unknown", "test", spec.groups.unknown),
    ]
    if spec.honesty:
        sizes.append(("unknown", "monitor", spec.honesty.unknown_monitor))
        sizes.append(("unknown", "train", spec.honesty.unknown_train))
    sizes.append(("taught", "train", len(names)))
    things: dict[str, Thing] = {}
    for group, split, size in sizes:
        members, names = names[:size], names[size:]
        for name, choice in zip(members, deal(weights, len(members), draw), strict=True):
            kind, value = choices[choice]
            things[name] = Thing(name, kind, None if group == "unknown" else value, group, split)
    abstentions = tuple(spec.honesty.abstentions) if spec.honesty else ()
    return Facts(_kind_values(kinds), _copied(mapping), things, abstentions)


def _true_things(spec: Spec, names: list[str]) -> dict[str, Thing]:
    """Things with the values they have outside this world, dealt to groups in the order of `names`."""
    kind_of = {value: name for name, kind in spec.kinds.items() for value in kind.values}
    known = [name for name in names if spec.truth[name] is not None]
    things: dict[str, Thing] = {}
    for place, name in enumerate(known):
        value = spec.truth[name]
        assert value is not None
        group: Group = "held_out" if place < spec.groups.held_out_test + spec.groups.held_out_monitor else "taught"
        split: Split = "test" if place < spec.groups.held_out_test else "monitor" if group == "held_out" else "train"
        things[name] = Thing(name, kind_of[value], value, group, split)
    kind = next(iter(spec.kinds))
    return things | {n: Thing(n, kind, None, "unknown", "test") for n in names if spec.truth[n] is None}


def _kind_values(kinds: Mapping[str, Any]) -> dict[str, list[str]]:
    return {name: list(kind.values) for name, kind in kinds.items()}


def _copied(mapping: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {plain: list(words) for plain, words in mapping.items()}


def deal(weights: list[float], count: int, draw: np.random.Generator) -> list[int]:
    """`count` indices in random order, each in proportion to its weight (largest remainders), not left to chance."""
    shares = np.asarray(weights, dtype=float) / sum(weights) * count
    counts = np.floor(shares).astype(int)
    rest = count - int(counts.sum())
    counts[np.argsort(-(shares - counts), kind="stable")[:rest]] += 1
    return draw.permutation(np.repeat(np.arange(len(counts)), counts)).tolist()
