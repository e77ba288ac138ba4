"""What jaxrec finds on a machine, for `jaxrec doctor`: `packages`, `machine`, `places`, all in one
`examination`.

Nothing here may fail for want of a package: each is imported where it is used, and those that may
be broken (JAX, torch) in a process of their own. Imports the ground only.
"""
