"""Where data come from: files of anybody's making, and what is published.

`tables` reads one table as it is written (`written` sees how), `description` says what its columns
are for (`dataset.toml`), `guess` finds that out, `reading` makes a data set of it, `library` finds
one by name; `inspection` says what was understood; `sharded` cuts one by user, and reads
its parts. Imports the ground and `data`, and no JAX.
"""
