"""The score card for people.

`verdict` says it in a few lines; `tables` and `summary` for the terminal, `plot` for a file; for a
page `charts` and `drawing` draw it, `chapters` put it in order and `page` writes it. Imports the
ground and `evaluation.card`.
"""
