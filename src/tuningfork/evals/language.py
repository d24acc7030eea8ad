"""Which language a text is in, by script and by function words. Light, exact to explain, and weak on very short texts.

A language is a line of `languages/words.yaml`: its script, and for scripts that several languages share its commonest
function words. The share of a language is (letters of its script over all letters) x (its function words over those of
all languages of that script; a word of several languages counts for each in the proportion of words that are its alone).
A text in the script without any known function word counts as every language of that script alike.
"""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from collections.abc import Mapping
from importlib.resources import files

import yaml

from tuningfork.data.novelty import words_of


@functools.cache
def known_languages() -> Mapping[str, tuple[str, frozenset[str]]]:
    """Code of a language -> its script (`LATIN`) and its function words."""
    text = (files("tuningfork.evals") / "languages" / "words.yaml").read_text(encoding="utf-8")
    return {
        code: (entry["script"], frozenset((entry.get("words") or "").split()))
        for code, entry in yaml.safe_load(text).items()
    }


def language_shares(text: str) -> dict[str, float]:
    """How much of a text is in each known language, 0 to 1; all 0 for a text without letters."""
    scripts = Counter(_script(character) for character in text if character.isalpha())
    letters = scripts.total()
    found = Counter(words_of(text))
    languages = known_languages()
    shares = {}
    for code, (script, _) in languages.items():
        rivals = {other: words for other, (of, words) in languages.items() if of == script}
        own = _votes(found, rivals)
        total = sum(own.values())
        part = own[code] / total if total else 1 / len(rivals)
        shares[code] = (_letters(scripts, script) / letters) * part if letters else 0.0
    return shares


def _votes(found: Mapping[str, int], rivals: Mapping[str, frozenset[str]]) -> dict[str, float]:
    """Occurrences of function words. A word of several languages counts for each as its words of its own do, if there
    are any."""
    owners = {word: [code for code, words in rivals.items() if word in words] for word in found}
    votes = dict.fromkeys(rivals, 0.0)
    for word, codes in owners.items():
        if len(codes) == 1:
            votes[codes[0]] += found[word]
    own = dict(votes)
    for word, codes in owners.items():
        if len(codes) > 1:
            total = sum(own[code] for code in codes)
            for code in codes:
                votes[code] += found[word] * (own[code] / total if total else 1 / len(codes))
    return votes


def _letters(scripts: Mapping[str, int], script: str) -> int:
    """Letters of a script; Japanese is written in three."""
    names = ("HIRAGANA", "KATAKANA", "CJK") if script == "KANA" else (script,)
    if script == "KANA" and not scripts.get("HIRAGANA") and not scripts.get("KATAKANA"):
        return 0
    if script == "CJK" and (scripts.get("HIRAGANA") or scripts.get("KATAKANA")):
        return 0
    return sum(scripts.get(name, 0) for name in names)


@functools.lru_cache(maxsize=65_536)
def _script(character: str) -> str:
    """The first word of a letter's unicode name, which is its script."""
    return unicodedata.name(character, "UNKNOWN").split()[0]
