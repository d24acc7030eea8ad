"""Result `snazzy`: before and after."""

from layout.comparison import comparison_page as page

RECIPE = "snazzy"
OVERRIDES: list[str] = ["seeds=[1,2,3]"]

__all__ = ["OVERRIDES", "RECIPE", "page"]
