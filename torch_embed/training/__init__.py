"""How an encoder learns: recipe, lesson, losses, gradients, and the state of a run.

Imports `encoding` and what that imports.
"""
