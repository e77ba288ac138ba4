"""Several processes, of one machine or many, as one.

Each reads its own users' part of data that were cut by `jaxrec data shard`, and nobody else's; what
is of users stays where they are, and sums go round. `launch` joins the processes and ends them
together, `joining` gives a command its options and a way to be one of several, `own` is what a
process has and what is known of all, `fitting` fits rows and keeps their vectors, `fusing` learns
`hybrid` of them and gives what scores by any row, `measuring` makes the score card, `lists`
recommends.
"""
