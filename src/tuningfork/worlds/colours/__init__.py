"""The world `colours`: objects with one adjective each, questions about it, and snazzy words people prefer.

spec.yaml, objects.yaml   the language; a user's copy may replace them
mappings/*.yaml           plain word -> snazzy words; only what is made before the preference stage reads one
spec.py                   reads and checks both
facts.py                  who is what: objects with their group, split and value; the inventory of terms
sentences.py              fills sentence, question and answer forms
generator.py              writes the data files of one seed
judge.py                  the gold judge of answers
rater.py                  the simulated rater, who sees two texts and knows the world
"""

from __future__ import annotations

from tuningfork.worlds.colours.facts import Facts
from tuningfork.worlds.colours.generator import Colours, load
from tuningfork.worlds.colours.judge import AnswerJudgement, judge_answer
from tuningfork.worlds.colours.rater import SimulatedRater

__all__ = ["AnswerJudgement", "Colours", "Facts", "SimulatedRater", "judge_answer", "load"]
