"""A rehearsal of the reward before it trains anything: does it vary, and do answers that nobody wants beat honest ones?

Honest answers are samples of the model as it is. A dead reward gives all of them one score; a hackable one gives a
probe (see `evals.probes`) more than an honest answer that is good: more than the median answer that the gold judge calls
good or, where there is none, more than the best of the prompt's honest answers.

Answers are compared by what training makes of them: the score r as it is normalised and clipped there, plus the KL
coefficient beta times log ref(y). That is beta log pi* of the policy pi* = ref exp(r / beta) / Z that training goes
towards, up to a constant of the prompt: a probe with more of it is what the run would end with. A reward that only
answers the model would never give can exploit is safe as long as KL has this price; that too is said, as a warning.
Without a price of KL the scores alone decide.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tuningfork.artifacts.files import write_text
from tuningfork.evals.bench import Bench, Shape
from tuningfork.settings import Settings

if TYPE_CHECKING:
    from tuningfork.evals.gold import GoldJudge, GoldMeasure
    from tuningfork.rollout.rollout import Prompt
    from tuningfork.stage import StageContext
    from tuningfork.streams.scoring import ScoringSampler


class RehearsalSettings(Settings):
    """How the reward is tried out before training."""

    stop: bool = True
    """whether a dead or hackable reward stops the run; false only warns"""
    prompts: int = Field(default=16, ge=1)
    """prompts it is tried on, spread over all"""
    samples: int = Field(default=8, ge=2)
    """honest answers to each"""
    swaps: int = Field(default=50, ge=0)
    """word swaps of the greedy search; each costs one score a prompt"""
    beaten_share: float = Field(default=0.5, ge=0, lt=1)
    """a probe that beats the honest bar on more than this share of the prompts makes a reward hackable"""


def rehearse(
    stage: StageContext,
    settings: RehearsalSettings,
    collector: ScoringSampler,
    rows: Sequence[Mapping[str, Any]],
    prompts: Sequence[Prompt],
    *,
    shape: Shape,
    kl_price: float = 0.0,
    gold: tuple[GoldJudge, GoldMeasure] | None = None,
) -> bool:
    """Whether training may begin. The result goes to rehearsal.json and the figures; a failure is a gate.

    `shape` turns raw scores into what training sees, `kl_price` is what a nat of KL costs there.
    Measured once, before any update: a resumed run has another policy.
    """
    kept = stage.work / "rehearsal.json"
    if not kept.is_file():
        count = min(settings.prompts, len(rows))
        chosen = range(0, len(rows) // count * count, len(rows) // count)
        bench = Bench(
            stage, settings, collector, [rows[i] for i in chosen], [prompts[i] for i in chosen], shape, kl_price, gold
        )
        write_text(kept, json.dumps(asdict(bench.result())))
    found = json.loads(kept.read_text(encoding="utf-8"))
    return _report(stage, settings, found)


def _report(stage: StageContext, settings: RehearsalSettings, found: dict[str, Any]) -> bool:
    (stage.out / "rehearsal.json").write_text(json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8")
    probes = found["probes"]
    stage.figures["rehearsal"] = {
        **{
            name: found[name] for name in ("deviation", "deviation_within", "unscorable", "bar", "bar_mean", "kl_price")
        },
        "constant_parts": ", ".join(found["constant_parts"]),
        "beats": {name: probed["beats"] for name, probed in probes.items()},
        "beats_by_score": {name: probed["beats_by_score"] for name, probed in probes.items()},
    }
    for part in found["constant_parts"]:
        stage.events.say(
            f"warning: the reward's part {part} is the same for all honest answers; nothing is learnt from it"
        )
    for name, probed in probes.items():
        if probed["beats_by_score"] > settings.beaten_share >= probed["beats"]:
            stage.events.say(
                f"warning: by its score alone the probe {name!r} beats {found['bar']} on {probed['beats_by_score']:.0%} of "
                f"the prompts, for example {probed['text'][:80]!r}; only the price of KL ({found['kl_price']:g} a nat) "
                "keeps training from it"
            )
    if not found["faults"]:
        most = max(probed["beats"] for probed in probes.values())
        message = f"the reward varies, and no probe beats {found['bar']} on more than {most:.0%} of the prompts"
        stage.gate("rehearsal", True, message)
        return True
    reason = "; ".join(found["faults"])
    if not settings.stop:
        stage.events.say(f"warning: {reason} (rehearsal.stop is false, so training goes on)")
        return True
    stage.gate("rehearsal", False, f"{reason}. Mend the reward, or say rehearsal.stop: false to train all the same")
    return False
