"""Kinds of rewards, one file each, with what `reward.base.RewardKind` lists. All import without torch."""

from tuningfork.choices import names_in

NAMES = names_in(__path__)
