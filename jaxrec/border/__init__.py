"""The files that jaxrec and torch_embed exchange: texts and lessons out, embeddings in.

Imports the ground, `data`, `pmf` and `evaluation`.
"""
