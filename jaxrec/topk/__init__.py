"""Top-K.

`item_sets` of users, `scorer` what gives scores, `blocks` the one loop over users, `ranking` the
exact best, `nearest` an index of items that finds most of them. Imports the ground and `data`.
"""
