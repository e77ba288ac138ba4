"""How an encoder learns: recipe, lesson, losses, gradients, checkpoints.

Imports `encoding` and what that imports.
"""
