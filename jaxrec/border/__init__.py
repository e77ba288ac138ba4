"""The files that jaxrec and torch_embed exchange, in positions of the catalogue.

`texts` and the `lesson` (of `pairs`, or of targets for `alignment`) go out, `embeddings` come in.
Imports the ground, `data`, `pmf` and `evaluation`.
"""
