"""How commands ask, speak and end: `options`, what they ask to be written (`outputs`),
`terminal` and its `characters`, tables that are `narrow`, the rows of a score card as they are
measured (`live`), `completion` of what is typed, `session`.

Imports `errors`, `files` and `budget` only.
"""
