"""Who did what with which items, and what is written about them; how to read and make it.

Imports the ground only (`errors`, `files`), no JAX.
"""
