"""What should not be in a text, and what only looks like it."""

from __future__ import annotations

import pytest

from tuningfork.data.oddities import ODDITIES, is_card


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("replacement_character", "caf\ufffd"), ("mojibake", "cafÃ© and â€™"), ("control_characters", "bell \x07"),
        ("control_characters", "c1 \x85"), ("hidden_characters", "a\u202eb"), ("hidden_characters", "a\u200bb"),
        ("template_markers", "Hi<|im_end|>"), ("template_markers", "[INST] Hi [/INST]"), ("template_markers", "<start_of_turn>user"),
        ("html", "AT&amp;T"), ("html", "a<br />b"), ("email", "write to ada.l@mail.uni-x.de."), ("phone", "call +49 30 1234 5678"),
        ("phone", "(555) 123-4567"), ("phone", "555-123-4567!"), ("card", "4111 1111 1111 1111"), ("ip_address", "at 8.8.123.45 now"),
    ],
)  # fmt: skip
def test_found(name: str, text: str) -> None:
    found = {oddity for oddity, one in ODDITIES.items() if one.test(text)}
    assert name in found and len(found) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Ein Café, 'naïve' — “quoted” … ångström ÃO", "tab\tand\nline\r\n", "a < b and [1] & c", "👩‍👩‍👧 emoji",
        "pi is 3.14159265358979", "in 1999 - 2005, 2006 and 10 000 000", "user@example.com", "1.2.3 and 192.168.0.1",
        "4111 1111 1111 1112", "0000 0000 0000 0000", "version 10.2.34", "x = 12 - 34 - 56", "نص عربي", "@mention",
    ],
)  # fmt: skip
def test_left_alone(text: str) -> None:
    assert [name for name, one in ODDITIES.items() if one.test(text)] == []


def test_check_digits() -> None:
    assert is_card("4539578763621486") and is_card("378282246310005") and not is_card("4539578763621487")
