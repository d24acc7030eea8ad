"""Does choosing what to ask save labels? Runs benchmarks/active-labels.yaml and writes docs/results/active-labels.md.

python benchmarks/active_labels.py                    five seeds, then the page
python benchmarks/active_labels.py --run FOLDER       only the page, of a run that is there already
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from tuningfork import load_recipe, run
from tuningfork.evals.learning_curve import fit_curve
from tuningfork.randomness import numpy_generator

RECIPE = Path("benchmarks/active-labels.yaml")
PAGE = Path("docs/results/active-labels.md")
COMMAND = 'tuningfork run benchmarks/active-labels.yaml "seeds=[1,2,3,4,5]"'
TARGET = 0.7
DRAWS = 4000

Curves = dict[str, np.ndarray]
"""strategy -> accuracies (seeds, rounds)"""


def main() -> None:
    """Run what is asked for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="folder of a run to make the page from")
    arguments = parser.parse_args()
    folder = arguments.run or Path("runs/results/active-labels")
    if not arguments.run:
        run(load_recipe(RECIPE, ["seeds=[1,2,3,4,5]"]), out=folder)
    seeds, labels, curves, ties = read(folder)
    PAGE.write_text(page(seeds, labels, curves, ties), encoding="utf-8")
    print(verdict(labels, curves))


def read(folder: Path) -> tuple[list[str], list[int], Curves, Curves]:
    """Seeds that are complete, labels of each round, accuracies and shares of ties by strategy."""
    files = sorted(folder.glob("seed-*/*-label_curve/rounds.jsonl"))
    rows = [[json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] for file in files]
    strategies = list(dict.fromkeys(row["strategy"] for row in rows[0]))
    labels = [row["labels"] for row in rows[0] if row["strategy"] == strategies[0]]

    def table(value: str) -> Curves:
        return {
            name: np.array([[row[value] for row in seed if row["strategy"] == name] for seed in rows], dtype=float)
            for name in strategies
        }

    ties = {name: found / np.array(labels) for name, found in table("ties").items()}
    return [file.parents[1].name.removeprefix("seed-") for file in files], labels, table("accuracy"), ties


def share_needed(labels: list[int], random: np.ndarray, other: np.ndarray) -> float:
    """Labels that `other` needs for the accuracy that `random` ends at, over the labels that `random` had; by fitted curves of
    the means (seeds, rounds). Infinite where its curve does not get there."""
    final = fit_curve(labels, random.mean(0).tolist()).at(labels[-1])
    return fit_curve(labels, other.mean(0).tolist()).labels_for(final) / labels[-1]


def interval(labels: list[int], random: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """95 % interval of the share, seeds drawn again (the same ones for both)."""
    draws = numpy_generator(0, "active labels")
    picks = draws.integers(len(random), size=(DRAWS, len(random)))
    found = sorted(share_needed(labels, random[pick], other[pick]) for pick in picks)
    return found[round(0.025 * (DRAWS - 1))], found[round(0.975 * (DRAWS - 1))]


def difference(random: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Mean over rounds and seeds of the gain in accuracy over `random`, with the interval over seeds (Student's t)."""
    gains = (other - random)[:, 1:].mean(1)
    critical = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}[len(gains)]
    half = critical * gains.std(ddof=1) / np.sqrt(len(gains))
    return float(gains.mean()), float(gains.mean() - half), float(gains.mean() + half)


def verdict(labels: list[int], curves: Curves) -> str:
    """Whether uncertainty sampling saves the labels that were hoped for."""
    share = share_needed(labels, curves["random"], curves["uncertainty"])
    low, high = interval(labels, curves["random"], curves["uncertainty"])
    if high <= TARGET:
        return f"It does: uncertainty sampling needs {_share(share, low, high)} of random sampling's labels."
    if share <= TARGET:
        return (
            f"Not shown: uncertainty sampling needs {_share(share, low, high)} of random sampling's labels; the estimate is below "
            f"{TARGET * 100:.0f} %, the interval is not."
        )
    return f"It does not: uncertainty sampling needs {_share(share, low, high)} of random sampling's labels, not {TARGET * 100:.0f} %."


def page(seeds: list[str], labels: list[int], curves: Curves, ties: Curves) -> str:
    """The result as Markdown."""
    lines = [
        "# Does choosing what to ask save labels?", "", f"`{COMMAND}`, then `python benchmarks/active_labels.py --run FOLDER`", "",
        "Hoped for: uncertainty sampling reaches the final accuracy of random sampling with at most 70 % of the labels.", "",
        verdict(labels, curves), "",
        "World `colours`; a model of 0.5 million parameters; 1,600 pairs of its answers to be asked about, of which a rater who errs "
        "in 12 of 100 (and finds a third of them alike: a tie, which costs a label and teaches nothing) says which is better. "
        "After each round a reward model is trained from the SFT model on all labels so far and measured on 500 pairs about other "
        f"objects, of a rater who does not err. Mean over seeds {', '.join(seeds)}; in brackets the seeds.", "",
        "| labels | " + " | ".join(curves) + " |", "|---|" + "---|" * len(curves),
    ]  # fmt: skip
    for place, number in enumerate(labels):
        cells = [
            f"{found[:, place].mean():.3f} ({', '.join(f'{value:.3f}' for value in found[:, place])})"
            for found in curves.values()
        ]
        lines.append(f"| {number} | " + " | ".join(cells) + " |")
    lines += [
        "", "| strategy | gain over random, mean of all rounds, 95 % interval over seeds | labels for random's final accuracy, "
        "share of random's | ties among its labels |",
        "|---|---|---|---|",
    ]  # fmt: skip
    for name, found in curves.items():
        tied = f"{100 * ties[name][:, -1].mean():.0f} %"
        if name == "random":
            lines.append(f"| {name} | | 100 % | {tied} |")
            continue
        gain, low, high = difference(curves["random"], found)
        share = _share(share_needed(labels, curves["random"], found), *interval(labels, curves["random"], found))
        lines.append(f"| {name} | {gain:+.3f} [{low:+.3f}, {high:+.3f}] | {share} | {tied} |")
    lines += [
        "", "The share comes from power laws fitted to the mean curves (`evals/learning_curve.py`); its interval draws the seeds "
        "again.",
        "∞: the fitted curve does not reach that accuracy.",
        "",
        _why(labels[-1], ties), "",
    ]  # fmt: skip
    return "\n".join(lines)


def _why(labels: int, ties: Curves) -> str:
    """How many labels of each strategy taught anything."""
    counts = {name: labels * (1 - found[:, -1].mean()) for name, found in ties.items()}
    told = ", ".join(f"{name} {count:.0f}" for name, count in counts.items())
    return (
        f"Of {labels} labels so many were no ties: {told}. Two answers that are equally good get scores that are close "
        "together, which is what uncertainty sampling asks about: it learns as much as random sampling from fewer decided "
        "pairs, and pays for them with ties. Heads on one trunk (disagreement) avoid some of the ties and are no better for it. "
        "Why the farthest pairs (diversity) teach less is not established."
    )


def _share(value: float, low: float, high: float) -> str:
    return " ".join(["∞" if np.isinf(value) else f"{value:.0%}", f"[{_end(low)}, {_end(high)}]"]).replace("%", " %")


def _end(value: float) -> str:
    return "∞" if np.isinf(value) else f"{value:.0%}"


if __name__ == "__main__":
    main()
