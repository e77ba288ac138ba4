"""Who did what with which items, and what is written about them.

`ids` names, `feedback` what a value means, `dataset` interactions, remarks and catalogue,
`features` what is known of an item. They are made from tables: `columns` tells what columns are
for, `batches` what is written in them, `assemble` mends and puts together, `frames` takes those in
memory. Imports the ground only (`errors`, `files`, `titles`), and no JAX.
"""
