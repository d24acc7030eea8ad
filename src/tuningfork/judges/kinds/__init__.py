"""Kinds of judges, one file each, with what `judges.base.JudgeKind` lists. All import without torch."""
