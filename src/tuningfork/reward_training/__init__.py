"""Training a reward model: one file a kind of feedback, each a task that the stage `reward` trains and measures.

    comparisons   pairs and rankings of answers            classes   windows of texts that are good or bad
    thumbs        single answers that are good or bad      ratings   texts with a number
    criteria      answers rated on several criteria

A task reads its rows, holds some out by root, gives the loop a stream, and hands what is held out to the card.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuningfork.errors import RecipeError

if TYPE_CHECKING:
    from tuningfork.data.reader import Dataset
    from tuningfork.data.reward_inputs import RewardInputs
    from tuningfork.reward_training.task import Task
    from tuningfork.stage import StageContext


def accepted_shapes() -> tuple[str, ...]:
    """Shapes of data that a reward is learnt from."""
    from tuningfork.data.adapters import RANKING_SHAPES

    return (*RANKING_SHAPES, "unpaired", "labelled")


def kind_of_task(shape: str, source: str, settings: Any) -> str:
    """The task for data of a shape; RecipeError where a setting has no effect on it or one is missing."""
    given = [name for name in ("labels", "ratings", "criteria") if getattr(settings, name) not in (None, {})]
    allowed = {"labelled": ("labels", "ratings"), "unpaired": ()}.get(shape, ("criteria", "ratings"))
    idle = [name for name in given if name not in allowed]
    what = {"labelled": "labelled texts", "unpaired": "single answers with a label"}.get(shape, "judgements")
    if idle:
        raise RecipeError(f"{source} holds {what}; remove {idle[0]}, it has no effect")
    if shape == "labelled":
        if len(given) != 1:
            raise RecipeError(
                f"{source} holds {what}; set labels: {{...}} where they are classes, or ratings: {{}} where they are numbers"
            )
        return "classes" if given == ["labels"] else "ratings"
    if shape == "unpaired":
        return "thumbs"
    if "ratings" in given and "criteria" not in given:
        raise RecipeError(
            f"{source} holds {what}; ratings says how criteria are learnt: name them, criteria: {{helpful: 1}}"
        )
    return "criteria" if "criteria" in given else "comparisons"


def make_task(stage: StageContext, settings: Any, inputs: RewardInputs, data: Dataset) -> Task:
    """The task that learns from `data`."""
    from tuningfork.reward_training.classes import ClassTask
    from tuningfork.reward_training.comparisons import ComparisonTask
    from tuningfork.reward_training.criteria import CriteriaTask
    from tuningfork.reward_training.ratings import RatingTask
    from tuningfork.reward_training.thumbs import ThumbTask

    tasks = {
        "classes": ClassTask,
        "comparisons": ComparisonTask,
        "criteria": CriteriaTask,
        "ratings": RatingTask,
        "thumbs": ThumbTask,
    }
    return tasks[kind_of_task(data.shape, data.source, settings)](stage, settings, inputs, data)
