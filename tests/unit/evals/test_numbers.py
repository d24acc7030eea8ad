"""Numbers as the verdict and the report print them."""

import pytest

from tuningfork.evals import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0871, "0.087"), (0.9449, "0.945"), (0.9996, "1.00"), (3.02, "3.02"), (12.34, "12.3"), (167.2, "167"),
        (999.9, "1\u202f000"), (2_380_000, "2\u202f380\u202f000"), (0.00031, "0.00031"), (0.0025, "0.0025"),
        (0.00996, "0.010"), (1.2e-6, "1.2e\u221206"),
        (-0.05, "\u22120.050"), (0.0, "0"), (None, "–"), (float("inf"), "∞"), (float("nan"), "not a number"), (7, "7"),
    ],
)  # fmt: skip
def test_figure(value, text):
    assert numbers.figure(value) == text


def test_signed_p_duration_memory():
    assert [numbers.signed(x) for x in (0.5, -0.5, 0.0)] == ["+0.500", "\u22120.500", "0"]
    assert [numbers.p_value(x) for x in (0.0001, 0.049, None)] == ["< 0.001", "0.049", "–"]
    assert [numbers.duration(x) for x in (1.24, 59.7, 171, 7384, None)] == [
        "1.2 s",
        "1 min 00 s",
        "2 min 51 s",
        "2 h 03 min",
        "–",
    ]
    assert [numbers.memory(x) for x in (812.3, 2048)] == ["812 MB", "2.0 GB"]
