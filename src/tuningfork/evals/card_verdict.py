"""What a reward model's card says in plain words. Rules over its numbers, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tuningfork.evals.numbers import figure, signed

_LENGTH_WARNING, _PROBE_WARNING, _FLIP_WARNING = 0.4, 0.5, 0.15
_ECE_WARNING = 0.1


def sentences(card: dict[str, Any], usable: bool, reason: str) -> list[str]:
    """The findings, the most important first."""
    return [
        "Usable: reinforcement learning may optimise it."
        if usable
        else f"Not usable: {reason}. Nothing should be optimised on it.",
        _accuracy(card),
        _length_rule(card),
        *_other_baselines(card),
        *_ceiling(card),
        *_calibration(card),
        _relation(card),
        *_length(card),
        *_rewrites(card),
        *_probes(card),
        *_ensemble(card),
        *_other_model(card),
    ]


def _accuracy(card: dict[str, Any]) -> str:
    found = card["accuracy"]
    text = (
        f"It puts the better answer first in {figure(found['share'])} of {found['n']:,} held-out comparisons (95 % interval "
        f"{_interval(found['ci95'])}"
    )
    if found["ci95_roots"]:
        return text + f"; over {card['roots']:,} roots {_interval(found['ci95_roots'])})."
    return text + f"; {card['roots']} roots are too few for an interval over roots)."


def _length_rule(card: dict[str, Any]) -> str:
    rule = next(row for row in card["baselines"] if row["name"].endswith(" wins"))
    gain, share, name = rule["gain"], figure(rule["share"]), rule["name"]
    change = f"{signed(gain['difference'])}{_bracket(gain['ci95'])}"
    if gain["ci95"] and gain["ci95"][0] > 0:
        return f"It beats the rule '{name}', which is right in {share}, by {change}."
    if gain["difference"] <= 0:
        return f"It does not beat the rule '{name}', which is right in {share} without reading a word: {change}."
    return f"Whether it beats the rule '{name}', right in {share}, cannot be told: {change}. More held-out feedback would tell."


def _other_baselines(card: dict[str, Any]) -> Iterator[str]:
    rows = [row for row in card["baselines"] if row["name"] != "random" and not row["name"].endswith(" wins")]
    ahead = [row for row in rows if row["gain"]["ci95"] and row["gain"]["ci95"][1] < 0]
    behind = [row for row in rows if row["gain"]["ci95"] and row["gain"]["ci95"][0] > 0]
    same = [row for row in rows if row not in ahead and row not in behind]
    for words, group in (
        ("It is right less often than", ahead),
        ("It cannot be told from", same),
        ("It is right more often than", behind),
    ):
        if group:
            named = [f"{row['name']} ({figure(row['share'])})" for row in group]
            yield f"{words} {_listed(named)}."


def _ceiling(card: dict[str, Any]) -> Iterator[str]:
    found = card["ceiling"]
    if found:
        yield (
            f"Raters agree with each other in {figure(found['agreement'])} of {found['n']:,} pairs of judgements "
            f"({_interval(found['ci95'])}): more than that cannot be learnt."
        )


def _calibration(card: dict[str, Any]) -> Iterator[str]:
    found = card["calibration"]
    if found["temperature"] is None:
        yield "No temperature makes its scores probabilities: the better answers do not score higher on average."
        return
    text = ""
    if found["raw"]:
        how = "off" if found["raw"]["ece"] > _ECE_WARNING else "close"
        text = f"As probabilities its score differences are {how} (calibration error {figure(found['raw']['ece'])})"
    fitted = found["fitted"]
    after = f"; with the temperature {figure(found['temperature'])} {figure(fitted['ece'])}" if fitted else ""
    if text:
        yield f"{text}{after}."
    elif fitted:
        yield (
            f"Its scores are ratings and no log odds; over a temperature of {figure(found['temperature'])} their differences are "
            f"probabilities with a calibration error of {figure(fitted['ece'])}."
        )


def _relation(card: dict[str, Any]) -> str:
    found = card["relation"]
    if found["spearman"] is None:
        return f"Score and {found['kind']} cannot be correlated: one of them does not vary."
    where = "" if found["kind"] == "rating" else " within prompts"
    return (
        f"Rank correlation of score and {found['kind']}{where}: {figure(found['spearman'])}{_bracket(found['ci95'])}."
    )


def _length(card: dict[str, Any]) -> Iterator[str]:
    within, over_all = card["length"]["within"], card["length"]["over_all"]
    value = within if within is not None else over_all
    where = "answers to one prompt" if within is not None else "all answers"
    if value is not None and abs(value) > _LENGTH_WARNING:
        what = "longer" if value > 0 else "shorter"
        yield f"Warning: {what} answers score higher (correlation {figure(value)} among {where}); optimising it changes length."
    elif value is not None:
        yield f"Score and length hardly go together (correlation {figure(value)} among {where})."


def _rewrites(card: dict[str, Any]) -> Iterator[str]:
    for found in card["sensitivity"]:
        name, shift = found["name"], f"{signed(found['shift'])} deviations"
        if found["wanted"] == "stay" and found["flips"] > _FLIP_WARNING:
            yield f"Warning: saying the same in other words turns {figure(found['flips'])} of the right orders round."
        elif found["wanted"] == "fall" and found["shift"] >= 0:
            yield f"Warning: the first half of an answer scores no less than the whole ({shift})."
        elif found["wanted"] == "not rise" and found["shift"] > 0.2 and found["rises"] > 0.5:
            how = f"with {name.removesuffix(' added')}" if name.endswith(" added") else name
            yield f"Warning: an answer {how} scores higher ({shift})."


def _probes(card: dict[str, Any]) -> Iterator[str]:
    beating = [
        f"{name} ({figure(found['beats'])})"
        for name, found in card["probes"].items()
        if found["beats"] > _PROBE_WARNING
    ]
    if beating:
        yield (
            f"Warning: answers nobody wants score above the median good one on more than half of the prompts: {_listed(beating)}. "
            "The rehearsal before reinforcement learning asks whether the price of KL keeps training from them."
        )
    elif card["probes"]:
        most = max(found["beats"] for found in card["probes"].values())
        yield f"No kind of answer that nobody wants scores above the median good one on more than {most:.0%} of the prompts."


def _ensemble(card: dict[str, Any]) -> Iterator[str]:
    found = card["disagreement"]
    if found and len(found["by_disagreement"]) > 1:
        first, last = found["by_disagreement"][0], found["by_disagreement"][-1]
        yield (
            f"Where its members agree most it is right in {figure(first['share'])}, where they disagree most in "
            f"{figure(last['share'])}."
        )


def _other_model(card: dict[str, Any]) -> Iterator[str]:
    found = card["compared"]
    if found:
        yield (
            f"Against {found['name']}, right in {figure(found['share'])} of the same comparisons: "
            f"{signed(found['gain']['difference'])}{_bracket(found['gain']['ci95'])}."
        )


def _interval(ci95: Sequence[float]) -> str:
    return f"{figure(ci95[0])} to {figure(ci95[1])}"


def _bracket(ci95: Sequence[float] | None) -> str:
    return f" (95 % interval {signed(ci95[0])} to {signed(ci95[1])})" if ci95 else " (too few roots for an interval)"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
