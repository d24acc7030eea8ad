"""Fit the gold judge of sentiment on labelled texts that the reward never sees, and measure it."""

from __future__ import annotations

from pydantic import Field

from tuningfork.evals.sentiment import GoldSettings
from tuningfork.settings import Input
from tuningfork.stage import StageContext


class StageSettings(GoldSettings):
    """Settings of the stage `gold`."""

    data: Input
    """labelled rows to fit on; they must not be the reward's"""
    heldout: Input
    """labelled rows to measure on"""
    minimum_accuracy: float = Field(default=0.85, ge=0, le=1)
    """least accuracy on the held-out rows"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Fit, save, and record the gate `accuracy`."""
    from tuningfork.data.jsonl import read_jsonl
    from tuningfork.evals.sentiment import OpinionLexicon, fit_gold_judge

    judge = fit_gold_judge(read_jsonl(stage.inputs["data"].reference, required=("text", "label")), settings)
    judge.save(stage.out)
    heldout = read_jsonl(stage.inputs["heldout"].reference, required=("text", "label"))
    texts, positive = [row["text"] for row in heldout], [row["label"] == "pos" for row in heldout]
    says_positive = judge.probabilities(texts) > 0.5
    accuracy = sum(a == b for a, b in zip(says_positive, positive, strict=True)) / len(positive)
    opinions = OpinionLexicon.load().opinions(texts)
    lexicon = sum(1.0 - abs(a - b) for a, b in zip(opinions, positive, strict=True)) / len(positive)
    stage.figures.update(accuracy=float(accuracy), lexicon_accuracy=float(lexicon), terms=len(judge.terms))
    stage.gate(
        "accuracy",
        accuracy >= settings.minimum_accuracy,
        f"{accuracy:.3f} of {len(heldout)} held-out texts (at least {settings.minimum_accuracy}); lexicon {lexicon:.3f}",
    )
