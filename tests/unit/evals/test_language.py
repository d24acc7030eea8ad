"""Languages of texts: sentences of the Universal Declaration of Human Rights, and what is not known."""

from __future__ import annotations

import pytest

from tuningfork.evals.language import known_languages, language_shares

# Article 1 in several languages (United Nations, public domain).
ARTICLE_1 = {
    "en": "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience and "
    "should act towards one another in a spirit of brotherhood.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt und "
    "sollen einander im Geist der Brüderlichkeit begegnen.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de conscience "
    "et doivent agir les uns envers les autres dans un esprit de fraternité.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y "
    "conciencia, deben comportarse fraternalmente los unos con los otros.",
    "it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati di ragione e di coscienza e "
    "devono agire gli uni verso gli altri in spirito di fratellanza.",
    "nl": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn begiftigd met verstand en geweten, "
    "en behoren zich jegens elkander in een geest van broederschap te gedragen.",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de razão e de consciência, devem "
    "agir uns para com os outros em espírito de fraternidade.",
    "sv": "Alla människor är födda fria och lika i värde och rättigheter. De är utrustade med förnuft och samvete och bör "
    "handla gentemot varandra i en anda av broderskap.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью и должны "
    "поступать в отношении друг друга в духе братства.",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "zh": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
}


@pytest.mark.parametrize("code", ARTICLE_1)
def test_the_language_of_a_sentence_has_the_largest_share(code: str) -> None:
    shares = language_shares(ARTICLE_1[code])
    assert max(shares, key=lambda name: shares[name]) == code
    assert shares[code] > 0.4


def test_shares_of_a_mixed_text_follow_the_letters() -> None:
    shares = language_shares("the cat is on the mat " + "и в не на я что")
    letters = 16, 10  # of each
    assert shares["en"] == pytest.approx(letters[0] / sum(letters))
    assert 0.5 * letters[1] / sum(letters) < shares["ru"] <= letters[1] / sum(letters)
    assert 0.99 < sum(shares.values()) < 1.01


def test_a_text_without_letters_has_no_language_and_one_without_known_words_all() -> None:
    assert set(language_shares("42 + 1 = 43").values()) == {0.0}
    shares = language_shares("Xyzzy")
    assert shares["en"] == shares["de"] == pytest.approx(1 / sum(s == "LATIN" for s, _ in known_languages().values()))
