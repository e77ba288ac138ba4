"""The files that jaxrec and torch_embed exchange, in positions of the catalogue.

`texts` and the `lesson` (of `pairs`, or of targets for `alignment`) go out, `embeddings` come in;
`taught` says which split a lesson may be made from, `draws` what comes of it is called.
Imports the ground, `data`, `pmf` and `evaluation`.
"""
