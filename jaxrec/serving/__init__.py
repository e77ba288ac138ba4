"""A fitted model in use.

`fit` makes one of what an experiment chose, `model` is it in memory, `folder` on disk; `strangers`
are users of whom nothing is known, `additions` what comes later; `lists` are lines, tables and
files, explained or not, `evaluated` those of an experiment itself; `export` takes vectors
elsewhere. `fit` and `evaluated` import `experiment` and what that imports; the others what a model
needs to serve.
"""
