"""Models that make data for other models: what they are asked for, and which of it is kept."""
