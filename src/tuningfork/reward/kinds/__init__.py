"""Kinds of rewards, one file each, with what `reward.base.RewardKind` lists. All import without torch."""
