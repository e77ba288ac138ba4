"""The commands that need no encoder: each parses, calls and prints.

`opening` of run folders; `learning` (tune, train-pmf), `measuring` (eval), `serving` (recommend,
similar, explain, export), `web` (serve), `reporting` (report) on what `cases` finds in run folders,
`machine` (doctor, completion). `cli` has those that need both packages, and puts all together.
Heavy packages are imported inside the commands. Imports everything.
"""
