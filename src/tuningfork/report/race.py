"""A race as tables and plots, for the report and for docs/results. Text and numbers only; the page does the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tuningfork import search
from tuningfork.evals.curves import Fit
from tuningfork.evals.numbers import duration, figure, memory, signed
from tuningfork.evals.race import Contestant, Race, fits
from tuningfork.evals.win_rate import WinRate
from tuningfork.report.plot import Line, plot

FAMILIES = {"sft": 0, "best_of": 1, "rl": 2, "preference": 3}
"""Kind of stage -> colour: demonstrations, choosing, reinforcement learning, preferences."""
_OTHER = 4
_LEVELS = (0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
_SHOWN_LEVELS = 4


@dataclass(frozen=True)
class Table:
    """Columns and rows of text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def standings(race: Race) -> Table:
    """One row a contestant: gold, its change with interval, KL, other measures, win rates, what it cost. Best gold first."""
    others = [m for m in race.contestants[0].measures if m.name not in (race.gold, "reward", "eos_rate")]
    rivals = list(dict.fromkeys(name for one in race.contestants for name in one.wins))
    columns = ["", race.gold.replace("_", " "), "change, 95 % interval", "by seed", "KL, nats", "proxy"]
    columns += [m.title for m in others] + [f"win rate against {name} (win/tie/loss)" for name in rivals]
    columns += ["steps", "seconds of the budget", "peak memory"]
    rows = []
    for one in sorted(race.contestants, key=lambda one: -_gold(one, race)):
        proxy = one.measure("reward")
        rows.append([
            one.name,
            figure(_gold(one, race)),
            _change(one, race),
            ", ".join(figure(value) for value in one.by_seed),
            ("≤ " if one.kind == "best_of" else "") + figure(one.kl),
            figure(proxy.after if proxy else None),
            *(figure(found.after if (found := one.measure(m.name)) else None) for m in others),
            *(_win(one.wins[name]) if name in one.wins else "" for name in rivals),
            figure(one.steps),
            duration(one.seconds) + (" to answer" if one.kind == "best_of" else ""),
            memory(one.memory_mb),
        ])  # fmt: skip
    start = race.contestants[0]
    before = [m.before for m in others]
    gold, proxy = start.measure(race.gold), start.measure("reward")
    empty = ["", "", "0", figure(proxy.before if proxy else None), *map(figure, before), *[""] * (len(rivals) + 3)]
    return Table(columns, [*rows, ["start", figure(gold.before if gold else None), *empty]])


def at_equal_kl(race: Race) -> Table:
    """The deciding measure where each curve first reaches a few distances; who never gets there, and how far, is said."""
    levels = shown_levels(race)
    rows = []
    for one in race.contestants:
        cells = []
        for level in levels:
            value, count = one.gold_at(level)
            some = f" ({count} of {len(one.looks)} seeds)" if 0 < count < len(one.looks) else ""
            cells.append("never reached" if value is None else figure(value) + some)
        rows.append([one.name, *cells, figure(one.most_kl)])
    return Table(["", *(f"at {level:g} nats" for level in levels), "most KL of a look"], rows)


def shown_levels(race: Race) -> list[float]:
    """KL levels that at least two contestants reach under every seed: four of them, the largest ones."""
    found = [
        level
        for level in _LEVELS
        if sum(one.gold_at(level)[1] == len(one.looks) for one in race.contestants) >= min(2, len(race.contestants))
    ]
    return found[-_SHOWN_LEVELS:]


def laws(race: Race) -> Table:
    """The published laws over sqrt(KL), fitted to proxy and gold: one row a contestant with enough looks, and one a family."""
    rows = []
    for name, group in [*_families(race), *((one.name, [one]) for one in race.contestants)]:
        for what in ("proxy", "gold"):
            found = fits(group, what)
            if found is not None:
                seen = max(kl for one in group for kl, _ in one.gains(what))
                rows.append([name, what, found.form, f"{found.a:.3f}", f"{found.b:.3f}", *_described(found, seen)])
    return Table(["", "of", "law", "a", "b", "explained", "points", "peak: KL, gain"], rows)


def gold_plot(race: Race) -> Markup:
    """The deciding measure against KL: the checkpoint curve of every contestant, means over seeds."""
    lines = [Line(one.name, mean_curve(one, "gold"), FAMILIES.get(one.kind, _OTHER)) for one in race.contestants]
    title = f"{race.monitor_gold.replace('_', ' ')}, monitor prompts"
    return plot(lines, f"{title}, against KL", "KL, nats a response", title)


def law_plot(race: Race, what: str) -> Markup:
    """Gains of proxy or gold over sqrt(KL), with the fitted law of each family."""
    lines = []
    for name, group in _families(race):
        points = [(math.sqrt(max(0.0, kl)), gain) for one in group for kl, gain in one.gains(what)]
        found, colour = fits(group, what), FAMILIES.get(group[0].kind, _OTHER)
        if found is None:
            continue
        reach = max(x for x, _ in points)
        curve = [(x, found.gain(x)) for x in (reach * step / 40 for step in range(41))]
        lines.append(Line(name, curve, colour, marks=points, is_dashed=True))
    return plot(lines, f"gain of {what} over sqrt(KL), with fits", "sqrt(KL)", f"gain of {what} over the start")


def mean_curve(one: Contestant, what: str) -> list[tuple[float, float]]:
    """(KL, value) means over seeds of each look; where seeds have different numbers of looks, those of the first seed."""
    curves = one.looks if len({len(curve) for curve in one.looks}) == 1 else one.looks[:1]
    return [
        (_mean([look.kl for look in group]), _mean([getattr(look, what) for look in group]))
        for group in zip(*curves, strict=True)
        if all(getattr(look, what) is not None for look in group)
    ]


def searched(found: search.Found) -> Table:
    """What each contestant tried, the taken one marked."""
    rows = []
    for name, one in found.contestants.items():
        for number, tried in enumerate(one.tried):
            values = ", ".join(f"{key.partition('.')[2]} {figure(value)}" for key, value in tried.values.items())
            taken = "taken" if one.reason == "best within the limit" else "taken, none within the limit"
            rows.append([name, values, figure(tried.gold), figure(tried.kl), taken if number == one.chosen else ""])
    return Table(["", "setting", found.measure.partition("/")[2].replace("_", " "), "KL, nats", ""], rows)


def sentence(race: Race) -> str:
    """The outcome in a line: who has the highest gold measure, and who at equal KL."""
    best = max(race.contestants, key=lambda one: _gold(one, race))
    text = f"Highest {race.gold.replace('_', ' ')}: {best.name}, {figure(_gold(best, race))} at {figure(best.kl)} nats"
    reached = {level: _reached(race, level) for level in shown_levels(race)}
    if any(reached.values()):
        level = max(reached, key=lambda level: (len(reached[level]), level))
        name = max(reached[level], key=reached[level].__getitem__)
        text += f"; at {level:g} nats, which {len(reached[level])} reach: {name}, {figure(reached[level][name])}"
    return f"{text}, of {len(race.contestants)} contestants over {len(race.seeds)} seed{'s' * (len(race.seeds) > 1)}"


def _reached(race: Race, level: float) -> dict[str, float]:
    """The deciding measure at a distance of everybody who reaches it under every seed."""
    at = {one.name: one.gold_at(level) for one in race.contestants}
    return {name: value for name, (value, n) in at.items() if value is not None and n == len(race.seeds)}


def _families(race: Race) -> list[tuple[str, list[Contestant]]]:
    names = {
        "sft": "demonstrations",
        "best_of": "best of n",
        "rl": "reinforcement learning",
        "preference": "preferences",
    }
    found: dict[str, list[Contestant]] = {}
    for one in race.contestants:
        found.setdefault(one.kind, []).append(one)
    return [
        (names.get(kind, kind) + " together", group)
        for kind, group in found.items()
        if len(group) > 1 or kind == "best_of"
    ]


def _gold(one: Contestant, race: Race) -> float:
    found = one.measure(race.gold)
    return found.after if found and found.after is not None else float("-inf")


def _change(one: Contestant, race: Race) -> str:
    found = one.measure(race.gold)
    if found is None or found.difference is None:
        return ""
    interval = f" [{signed(found.ci95[0])}, {signed(found.ci95[1])}]" if found.ci95 else ""
    return signed(found.difference) + interval


def _win(rate: WinRate) -> str:
    interval = f" [{figure(rate.ci95[0])}, {figure(rate.ci95[1])}]" if rate.ci95 else ""
    return f"{figure(rate.rate)}{interval} ({rate.wins}/{rate.ties}/{rate.losses})"


def _described(found: Fit, seen: float) -> tuple[str, str, str]:
    """How good the fit is, and where it has its peak: a peak beyond the most KL seen is the formula's, not the data's."""
    peak, told = found.peak, "none"
    if peak:
        told = f"{figure(peak[0])}, {figure(peak[1])}" if peak[0] <= seen else f"beyond {figure(seen)}"
    return figure(found.r_squared), str(found.num_points), told


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
