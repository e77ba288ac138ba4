"""The score card for people.

`tables` and `summary` for the terminal, `plot` for a file; for a page `verdict` says it in three
lines, `charts` and `drawing` draw it, `chapters` put it in order and `page` writes it. Imports the
ground and `evaluation.card`.
"""
