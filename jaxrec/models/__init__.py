"""The rows of the score card that learn, a family a module.

`model` says what such a row is and what it may learn from; those of `linear`, `factorization` and
`sets` are families, `registry` has them by name. Imports the ground, `data`,
`topk`, `evaluation`, `pmf` and `sets`.
"""
