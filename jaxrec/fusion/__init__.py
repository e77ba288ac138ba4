"""Several scores into one.

`published` as the reports did it, over `profiles` of users; `gate` learned on validation, and its
`calibration` for items without interactions. Imports the ground, `data`, `topk` and `evaluation`.
"""
