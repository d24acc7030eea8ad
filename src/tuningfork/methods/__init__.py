"""The mathematics of every algorithm: pure functions of tensors, one file each, importable without torch.

A loss function returns losses by token (B, T), by pair or by text (B,), and detached metrics of the same shape.
Averages are apart: the loop multiplies by weights that were computed once over the whole optimizer step, and sums.
"""
