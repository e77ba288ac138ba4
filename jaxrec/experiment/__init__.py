"""One experiment in one run folder, and several as one.

Imports everything but `serving`, `report` and `console`.
"""
