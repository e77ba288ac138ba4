"""One experiment in one run folder, and several.

`folder` is where, `kept` how what is made stays valid; `choices` are made on validation, `tuning`
finds settings; `rows` says what there is to measure, `fitting` fits and `scoring` measures it;
`study` is several folders. Imports everything but `serving`, `report` and `console`.
"""
