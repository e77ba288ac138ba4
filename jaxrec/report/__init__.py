"""The score card for people.

`tables` and `summary` for the terminal, `plot` for a file. Imports the ground and
`evaluation.card`.
"""
