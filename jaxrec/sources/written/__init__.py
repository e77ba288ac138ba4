"""How a table is written, as Python reads it.

`rows` gives its rows, `beginning` what its first lines tell, `odd_numbers` if it has such.
"""
