"""Streams of batches for the loop: data or rollouts on one side, a method's loss over a backbone on the other."""
