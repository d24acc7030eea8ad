"""Human feedback: a page where people compare answers, the database behind it, and what goes back to training.

No torch here: a model that has to be sampled is another process (`sampler`).
"""
