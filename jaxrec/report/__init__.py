"""The score card for people: tables for the terminal, plots.

Imports the ground and the card, `evaluation.card`.
"""
