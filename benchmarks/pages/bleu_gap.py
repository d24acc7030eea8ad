"""Result `bleu-gap`: before and after, the metric that was optimised beside facts, ROUGE and likelihood."""

from layout.comparison import comparison_page as page

RECIPE = "bleu-gap"
OVERRIDES: list[str] = ["data=../shared/data/nlg"]

__all__ = ["OVERRIDES", "RECIPE", "page"]
