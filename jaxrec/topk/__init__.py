"""Exact top-K.

`item_sets` of users, `scorer` what gives scores, `blocks` the one loop over users, `ranking` the
best. Imports the ground and `data`.
"""
