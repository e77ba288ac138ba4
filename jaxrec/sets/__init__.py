"""The set model: a user is the sum of the vectors of what she has, seeded by the items' texts.

It may import what ranks and evaluates (`jaxrec.topk`, `jaxrec.evaluation`) and what is below that.
"""
