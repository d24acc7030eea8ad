"""Kinds of judges, one file each, with what `judges.base.JudgeKind` lists. All import without torch."""

from tuningfork.choices import names_in

NAMES = names_in(__path__)
