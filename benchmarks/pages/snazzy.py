"""Result `snazzy`: before and after."""

from layout.comparison import comparison_page as page

RECIPE = "snazzy"
OVERRIDES: list[str] = ["seeds=[21,22,23]"]

__all__ = ["OVERRIDES", "RECIPE", "page"]
