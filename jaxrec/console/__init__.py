"""How commands speak and what they ask.

Imports `errors` only.
"""
