"""Several rewards of the same thing: their mean, less what they disagree on. No torch here.

    total = mean - k * deviation       (deviation over the members, n in the denominator)
What only some members like is what their training data did not settle, and where optimisation goes wrong first: Coste et al.
2023 (2310.02743), Eisenstein et al. 2023 (2312.09244).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from tuningfork.errors import ModelError
from tuningfork.reward.base import Item, Reward, Score

ENSEMBLE_FILE = "ensemble.json"


class Ensemble:
    """The mean of its members, less `penalty` deviations. Parts: `mean`, `disagreement`, and each `member-<n>`."""

    def __init__(self, members: Sequence[Reward], penalty: float = 0.0) -> None:
        assert len(members) > 1
        self.members, self.penalty = list(members), penalty

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item; unscorable where it is for any member."""
        columns = [member.score(items) for member in self.members]
        return [self._combined(scores) for scores in zip(*columns, strict=True)]

    def _combined(self, scores: Sequence[Score]) -> Score:
        totals = [score.total for score in scores if score.total is not None]
        if len(totals) < len(scores):
            return Score(None)
        total, mean, deviation = self._total(totals)
        parts = {"mean": mean, "disagreement": deviation} | {f"member-{n}": value for n, value in enumerate(totals)}
        prefixes = [score.prefixes for score in scores if score.prefixes is not None]
        if len(prefixes) < len(scores):
            return Score(total, parts)
        return Score(total, parts, [self._total(values)[0] for values in zip(*prefixes, strict=True)])

    def _total(self, values: Sequence[float]) -> tuple[float, float, float]:
        """Total, mean and deviation of the members' scores."""
        mean = math.fsum(values) / len(values)
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
        return mean - self.penalty * deviation, mean, deviation


def write_ensemble(folder: Path, names: Sequence[str]) -> None:
    """Say that the folder holds an ensemble of reward models in subfolders of these names."""
    (folder / ENSEMBLE_FILE).write_text(json.dumps({"version": 1, "members": list(names)}) + "\n", encoding="utf-8")


def member_folders(source: str | Path) -> list[Path]:
    """The members of an ensemble's folder; none where it is a single model. ModelError for a broken one."""
    path = Path(source) / ENSEMBLE_FILE
    if not path.is_file():
        return []
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["members"]
        folders = [path.parent / name for name in names]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not an ensemble ({error}); train it again") from error
    missing = next((folder for folder in folders if not folder.is_dir()), None)
    if missing is not None or len(folders) < 2:
        raise ModelError(f"{path} names {missing or 'fewer than two members'}, which is not there; train it again")
    return folders
