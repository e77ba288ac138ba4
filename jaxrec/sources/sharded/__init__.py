"""A data set cut by user into parts, of which each of many processes reads its own.

`layout` says what lies where, and which part a user is in; `writing` cuts, `reading` reads.
"""
