"""What an experiment recommends: to its users, to somebody new; and what is similar.

Imports `experiment` and what that imports.
"""
