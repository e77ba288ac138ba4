"""How commands ask, speak and end: `options`, what they ask to be written (`outputs`),
`terminal` and its `characters`, the rows of a score card as they are measured (`live`), `session`.

Imports `errors`, `files` and `budget` only.
"""
