"""What an experiment recommends.

`recommend` to its users, `newcomers` to somebody who says what she likes; `similar` items. Imports
`experiment` and what that imports.
"""
