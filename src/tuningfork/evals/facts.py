"""Which facts about a restaurant a description names: patterns for every value of the E2E data."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

_NOT_FAMILY = (
    r"(\bno[nt]?\b|n't|\bwithout|\bnor\b|\bnever|\bunsuitable|\bisn)[^.!?]{0,45}(famil|child|kid)"
    r"|(famil|child|kid)[^.!?]{0,25}(\bnot\b|n't|\bunwelcome|\bno\b|\bunfriendly|discouraged)"
    r"|adults?[ -]?only|only adults?|\badults?\b|(famil|child|kid)\w*[ -]?un"
)
_RATED = r"(rat\w+|customers?|reviews?|scor\w+|recommend\w*|quality|stars?|feedback)"
_PRICED = r"(pric\w+|cost\w*|expens\w+)"


def _near(word: str, context: str, reach: int = 30) -> str:
    """A word with its context within some characters of the same sentence, on either side."""
    return rf"{word}[^.!?]{{0,{reach}}}{context}|{context}[^.!?]{{0,{reach}}}{word}"


PATTERNS: Mapping[str, Mapping[str, str]] = {
    "area": {
        "city centre": r"cent(re|er|ral)|downtown|in the city\b|middle of (the )?(city|town)",
        "riverside": r"\briver",
    },
    "eatType": {"coffee shop": r"\bcoffee|\bcaf[eé]", "pub": r"\bpubs?\b", "restaurant": r"\brestaurants?\b"},
    "food": {
        "Chinese": r"chinese", "English": r"english|british", "Fast food": r"fast[ -]?food", "French": r"french",
        "Indian": r"indian", "Italian": r"italian|pasta", "Japanese": r"japanese|sushi",
    },
    "priceRange": {
        "cheap": r"cheap|inexpensive|affordable|budget|not expensive|" + _near(r"\blow", _PRICED, 12),
        "moderate": r"moderate|mid[- ]?(range|pric)|medium|reasonabl|fair(ly)?[ -]pric|" + _near("average", _PRICED, 20),
        "high": r"(?<!not )(?<!in)expensive|pric(e?y|ier)\b|upscale|high[- ]end|" + _near(r"\bhigh(er|ly)?\b", _PRICED, 20),
        "less than £20": r"(less|under|below|cheaper|lower|up to|within|not? more)[^.!?]{0,25}20",
        "£20-25": r"20\D{0,12}25",
        "more than £30": r"(more|over|above|upwards?|higher|exceed\w*|greater|starting|start)[^.!?]{0,25}30"
        r"|30 (or more|and (up|over|above))",
    },
    "customer rating": {
        "1 out of 5": r"\b(1|one)( out)? of (5|five)|\b(1|one)[ -]?stars?|\b1/5|rat\w+ (of |is |at )?(a )?(1|one)\b",
        "3 out of 5": r"\b(3|three)( out)? of (5|five)|\b(3|three)[ -]?stars?|\b3/5|rat\w+ (of |is |at )?(a )?(3|three)\b",
        "5 out of 5": r"\b(5|five)( out)? of (5|five)|\b(5|five)[ -]?stars?|\b5/5|rat\w+ (of |is |at )?(a )?(5|five)\b",
        "low": r"poor|bad(ly)?\b|not well|" + _near(r"\blow(ly|er|est)?\b", _RATED),
        "average": r"mediocre|decent|ok\b|okay|" + _near(r"\baverage", _RATED),
        "high": r"excellent|well[- ](rated|reviewed|liked|received)|great|" + _near(r"\bhigh(ly|er|est)?\b", _RATED),
    },
    "familyFriendly": {"yes": r"famil|child|kid", "no": _NOT_FAMILY},
}  # fmt: skip
"""Slot -> value -> pattern of what names it, on plain lower-case text without the names of places."""


_ALIKE = (
    ("cheap", "less than £20"), ("moderate", "£20-25"), ("high", "more than £30"),
    ("low", "1 out of 5"), ("average", "3 out of 5"), ("high", "5 out of 5"),
)  # fmt: skip
"""Values that people use for one another; either names the other."""


def named_values(text: str, facts: Mapping[str, str]) -> dict[str, set[str]]:
    """Slot -> its values that a text names. Names of places count where they are those of `facts`."""
    plain = _plain(text)
    found: dict[str, set[str]] = {}
    for slot in ("near", "name"):
        place = _plain(facts.get(slot, ""))
        if place and place in plain:
            found[slot] = {facts[slot]}
            plain = plain.replace(place, " ")  # Raja Indian Cuisine serves no food here
    for slot, values in PATTERNS.items():
        hits = {value for value, pattern in values.items() if re.search(pattern, plain)}
        if slot == "familyFriendly" and "no" in hits:
            hits = {"no"}
        if hits:
            found[slot] = hits
    return found


def coverage(text: str, facts: Mapping[str, str]) -> tuple[float, int]:
    """Share of the facts that a text names, and the number of slots for which it names only what is not so. That
    something is a restaurant can be said of every place."""
    named = named_values(text, facts)
    right = sum(_is_named(value, named.get(slot, set())) for slot, value in facts.items())
    wrong = sum(
        not _is_named(facts.get(slot), values)
        for slot, values in named.items()
        if slot != "eatType" or values != {"restaurant"}
    )
    return right / len(facts), wrong


def _is_named(value: str | None, values: set[str]) -> bool:
    return value in values or any(value in pair and (set(pair) - {value}) & values for pair in _ALIKE)


def _plain(text: str) -> str:
    """Lower case, without accents and with single spaces."""
    decomposed = unicodedata.normalize("NFKD", text.lower())
    return " ".join("".join(c for c in decomposed if not unicodedata.combining(c)).split())
