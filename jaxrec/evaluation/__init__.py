"""What is held out, how good lists are, and how sure we are of it.

`split` cuts, `protocol` holds the rules as data, `task` is what to rank and what counts; `metrics`,
`measure` and `foreign_metrics` give figures, `significance` their intervals, `card` carries them.
Imports the ground, `data` and `topk`.
"""
