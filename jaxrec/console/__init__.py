"""How commands ask, speak and end: `options`, `terminal` and its `characters`, `session`.

Imports `errors` only.
"""
