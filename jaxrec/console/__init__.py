"""How commands ask, speak and end: `options`, what they ask to be written (`outputs`),
`terminal` and its `characters`, `session`.

Imports `errors` and `files` only.
"""
