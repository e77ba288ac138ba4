"""Exact top-K: item sets, scorers, and the ranking of users in blocks.

Imports the ground and `data`.
"""
