"""Several scores into one: the published way, and what is learned on validation.

Imports the ground, `data`, `topk` and `evaluation`.
"""
