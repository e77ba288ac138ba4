"""A fitted model over HTTP.

`ready` is a model warmed up, `batches` works requests off in one thread; `routes` are what is
answered, `problems` how it is refused, `guard` who may ask, `meters` what is counted and logged,
`server` the process. Imports the ground, `data`, `topk`, `evaluation`,
`models`, `explanation` and `serving`.
"""
