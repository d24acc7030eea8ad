"""What should not be in a text: broken encodings, hidden characters, template markers, and what looks like personal data."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

from tuningfork.data.findings import Severity

_MOJIBAKE = re.compile(r"â€[™œ\x9d“”˜¦“]|Ã[\x80-\xbf©¨¤¶¼ŸªŠ¢«®´»¡³­º±]|Â[\xa0«»°·£©®]|ï»¿|ðŸ")
_MARKERS = re.compile(
    r"<\|(?:im_start|im_end|endoftext|eot_id|start_header_id|end_header_id|begin_of_text|user|assistant|system|end)\|>"
    r"|\[/?INST\]|<<SYS>>|</?s>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>"
)
_ENTITIES = re.compile(r"&(?:amp|lt|gt|quot|nbsp|#\d{2,5});|<br ?/?>")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{2,63})+")
_PHONE = re.compile(
    r"(?<![\w.])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{2,4}(?:[ .-]\d{2,4}){2,3}"
    r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}[ .-]\d{3}[ .-]\d{4})(?![\w.-]?\d)"
)
_CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_NUMBERS = re.compile(r"[+(\d][\d .()-]{5,30}\d")
_ADDRESS = re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
_INVISIBLE = frozenset("\u200b\u2060\ufeff\u00ad\u180e")
_EXAMPLE_HOSTS = ("example.com", "example.org", "example.net", "email.com")


def has_replacement(text: str) -> bool:
    """U+FFFD, which stands where a byte could not be read."""
    return "\ufffd" in text


def has_mojibake(text: str) -> bool:
    """UTF-8 that was read as Latin-1 (`Ã©`, `â€™`)."""
    return not text.isascii() and _MOJIBAKE.search(text) is not None


def has_control(text: str) -> bool:
    """Control characters other than tabs and line ends."""
    return _CONTROL.search(text) is not None


def has_hidden(text: str) -> bool:
    """Characters that turn the direction of text or are not seen at all."""
    return not text.isascii() and not (_BIDI | _INVISIBLE).isdisjoint(text)


def has_markers(text: str) -> bool:
    """The name of a control token of some chat template, which the data should not hold as text."""
    return ("<" in text or "[" in text) and _MARKERS.search(text) is not None


def has_entities(text: str) -> bool:
    """HTML entities or line breaks."""
    return ("&" in text or "<br" in text) and _ENTITIES.search(text) is not None


def has_email(text: str) -> bool:
    """An e-mail address, those of example domains apart."""
    return "@" in text and any(not m[0].lower().endswith(_EXAMPLE_HOSTS) for m in _EMAIL.finditer(text))


@functools.lru_cache(maxsize=4)
def numbers(text: str) -> tuple[str, ...]:
    """Runs of digits with what may stand between them, in which the three tests below look."""
    return tuple(text[max(0, m.start() - 1) : m.end() + 2] for m in _NUMBERS.finditer(text))


def has_phone(text: str) -> bool:
    """A telephone number with its parts apart."""
    return any(_PHONE.search(run) for run in numbers(text))


def has_card(text: str) -> bool:
    """13 to 19 digits with a right check digit (Luhn), as on payment cards."""
    return any(is_card(re.sub(r"\D", "", match[0])) for run in numbers(text) for match in _CARD.finditer(run))


def has_address(text: str) -> bool:
    """An IPv4 address outside the private and documentation ranges."""
    return any(
        not m[0].startswith(("10.", "127.", "192.168.", "0.", "192.0.2.", "203.0.113.", "198.51.100.", "255."))
        for run in numbers(text)
        for m in _ADDRESS.finditer(run)
        if len(m[0]) > 7
    )


def is_card(digits: str) -> bool:
    """Whether the check digit is right (ISO/IEC 7812-1, Luhn) and the digits are not all the same."""
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    return len(set(digits)) > 1 and digits[0] in "3456" and sum(d - 9 * (d > 9) for d in doubled) % 10 == 0


class Oddity(NamedTuple):
    """A test of a text, how grave it is, and what the rows do."""

    test: Callable[[str], bool]
    severity: Severity
    text: str


ODDITIES = {
    "replacement_character": Oddity(has_replacement, "warn", "hold U+FFFD, where a byte could not be read: convert the source again"),
    "mojibake": Oddity(has_mojibake, "warn", "hold UTF-8 that was read as Latin-1 (Ã©, â€™): convert the source again"),
    "control_characters": Oddity(has_control, "warn", "hold control characters"),
    "hidden_characters": Oddity(has_hidden, "warn", "hold characters that are invisible or turn the direction of text"),
    "template_markers": Oddity(has_markers, "warn", "hold the name of a control token as text: was a template applied already?"),
    "html": Oddity(has_entities, "note", "hold HTML entities or <br>"),
    "email": Oddity(has_email, "warn", "hold what looks like an e-mail address of a person"),
    "phone": Oddity(has_phone, "warn", "hold what looks like a telephone number"),
    "card": Oddity(has_card, "warn", "hold what looks like the number of a payment card"),
    "ip_address": Oddity(has_address, "note", "hold what looks like an internet address"),
}  # fmt: skip
"""What is looked for in every row, by name."""
