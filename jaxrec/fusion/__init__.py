"""Several scores into one.

`published` as the reports did it, over `profiles` of users; the `gate`, `learning` it on
validation, and its `calibration` for items without interactions. Imports the ground, `data`, `topk`
and `evaluation`.
"""
