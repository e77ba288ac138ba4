"""Alternating least squares over a mesh of devices, of one host or of many.

Users are cut over the devices, with their interactions and their vectors, which never move. Items
are cut too; theirs are the vectors that travel, in T tiles, so that a device holds one tile of all
items at a time and all of its own users' vectors. Nothing that every device holds grows with users.

The half of the users: item vectors are gathered, and every device solves its own users, by the very
program of `half_sweep` if one tile holds all items, else by passes. The half of the items goes by
passes: in each of them a tile's vectors are gathered, every device sums over its own users what an
item's interactions add, and a `psum_scatter` of [items of the tile, columns] gives each item's
owner its sum. A conjugate-gradient step is one pass. S^T S is a `psum` of [columns, columns].

ALX (Mehta et al. 2021, arXiv:2112.02194) and Spark cut both sides and send rows where they are
needed, which moves more as long as the item table fits a device.

`layout` says who holds what, `passes` solves by passes, `halves` are the programs, `fit` is the
fit, `checkpoints` saves it and goes on on other devices, `traffic` is what moves.
"""
