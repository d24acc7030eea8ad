"""Result `reviews`: before and after."""

from layout.comparison import comparison_page as page

RECIPE = "reviews-local"
OVERRIDES: list[str] = ["data=../shared/data/imdb"]

__all__ = ["OVERRIDES", "RECIPE", "page"]
