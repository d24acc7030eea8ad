"""Result `bakeoff`: fourteen methods against each other on the world of `snazzy`."""

from __future__ import annotations

from layout.race import race_page
from layout.run import Run

RECIPE = "bakeoff"
OVERRIDES: list[str] = []
READING = """\
Settings were chosen on seed 3 and monitor prompts; the three seeds raced, and the test prompts, took no part in that.

**Who wins.** With 60 s of computing the methods that sample and are paid by the reward: REINFORCE .995, RLOO .993, PPO .990, A2C .982,
at 3.6 to 4.1 nats. Their intervals overlap; nothing here tells them apart, except that PPO takes 2.6 times as many steps for it.
GRPO comes later (.856): its search took a KL price in the loss of .15. Best of 32 needs no training and gets .884 for at most 2.5 nats,
which is all that n = 32 can buy, with right colours untouched (1.00): at equal KL nobody is clearly ahead of it (at 2 nats A2C .759,
REINFORCE .748, best of n .715, PPO .624).

**Who goes wrong.** SLiC-HF (.765) and SimPO (.624) gain while they break the language: 8 and 26 nats, right colours .85 and .59, answers about
other things changed in .19 and .68 of the cases, "it, the colour of the lorry is red". SimPO has no reference, SLiC-HF none either here. By the
judge SimPO loses to where it started (.449). ORPO and SFT on the chosen answers lose right colours too (.84, .82) for .41 and .27.

**Who hardly moved.** DPO (.292) and IPO (.253) spent half a nat. That is the search, not the methods: with beta .1 they ran to 10 to 45 nats
and no gain, so beta .5 was taken, which holds them back; the four settings lie too far apart. KTO (.322) likewise. Rejection sampling, one round
of best of 4, gets .221. A fair reading for these is "not at their best"; more settings would be needed for all.

**Length and variety.** Nobody wins by length: answers grow from 5.8 to 6.8 tokens, which is "i think it is" in place of "it is" (moss agate has
more tokens, too). Variety falls: every winner ends at "i think it is moss agate", distinct-2 .010 after .018; where it rises (SLiC-HF, SimPO) the
new word pairs are broken ones. Unknown objects are invented about as before by all (.86 to 1.0): nothing here pays for saying so.

**Proxy and gold** rise together for the winners over all that was seen; there is no peak of the published kind within 60 s, and the "laws" of
demonstrations and preferences explain little (.2 to .7). Against SFT on the chosen answers the judge prefers the winners in .67, most of the rest
being ties: both answers right and equally plain or snazzy.

**What to doubt.** Most of the winners took the highest learning rate on offer, so their best may lie beyond it. The world rewards one choice of
words; the order of methods is that of this world and of one minute.

**Cost.** 118 min by the clock on two cores that other work shared, 86 min of processor time, in one process on one thread.
""".splitlines()
"""What the figures say, in words; written by hand after the run was read."""


def page(run: Run) -> str:
    """The race with its reading."""
    return race_page(run, READING)
