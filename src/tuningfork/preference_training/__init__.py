"""Learning from preferences without a reward model: examples from feedback, and what training did to held-out ones."""
