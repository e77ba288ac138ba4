"""How commands ask, speak and end: `options`, `terminal`, `session`. Imports `errors` only."""
