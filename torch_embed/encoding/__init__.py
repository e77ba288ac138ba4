"""Encoders as they are.

`encoder` finds and loads one, `shapes` knows its size, `nf4` and `adapters` change its layers,
`encode` embeds and checks, `saved` writes one and proves it. Imports `errors`, `files` and
`processes`.
"""
