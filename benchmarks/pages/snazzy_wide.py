"""Result `snazzy-wide`: before and after."""

from layout.comparison import comparison_page as page

RECIPE = "snazzy-wide"
OVERRIDES: list[str] = []

__all__ = ["OVERRIDES", "RECIPE", "page"]
