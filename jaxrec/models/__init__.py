"""The rows of the score card that are learned, a family a module.

Imports the ground, `data`, `topk`, `pmf` and `evaluation`.
"""
