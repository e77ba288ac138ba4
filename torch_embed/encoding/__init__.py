"""Encoders as they are.

`layout` reads what an encoder's files say, `encoder` loads one, `pooling` makes a text's vector of
its tokens', `shapes` knows its size, `nf4` and `adapters` change its layers, `encode` embeds and
checks, `saved` writes one and proves it. Imports `errors`, `files`, `names`,
`hub` and `processes`.
"""
