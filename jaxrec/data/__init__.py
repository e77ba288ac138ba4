"""Who did what with which items, and what is written about them.

`ids` names, `feedback` what a value means, `dataset` interactions, remarks and catalogue;
`movielens` and `synthetic` make them, `sources` finds them; `texts` and `features` say what is
known of an item. Imports the ground only (`errors`, `files`), and no JAX.
"""
