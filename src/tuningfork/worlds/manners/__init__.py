"""The world `manners`: requests that may be harmful, and answers that help, refuse, dodge the subject or are unkind.

spec.yaml          the language; a user's copy may replace it
classes.yaml       for a rubric; principles.yaml for a constitution; *-chance.yaml their null checks
rubric.yaml        classes of answers for the reward `rubric`
constitution.yaml  principles for the stages `critique` and `judge`
*.txt              the questions of critiques, revisions and comparisons, short enough for a small model
spec.py            reads and checks the language
language.py        who is what: verbs with their tool, harm and split; writes requests and answers, and tells what an answer is
judged.py          judging text in the words in which the stages ask, wrong in a known share
generator.py       writes the data files of one seed
gold.py            the gold judge of answers
rater.py           the simulated rater, who sees two texts and knows the world
"""

from __future__ import annotations

from tuningfork.worlds.manners.generator import Manners, load
from tuningfork.worlds.manners.language import Language

__all__ = ["Language", "Manners", "load"]
