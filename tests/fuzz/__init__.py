"""Inputs that nobody would write, for the tests and for `benchmarks/fuzz.py`.

Each module has one or two targets: what reads one kind of input. A target is a context around a
scratch folder that yields `attempt`: it draws an input, has it read, and says whether it was read
or refused. What is refused as it must be (InputError, usage errors of click, statuses 4xx) raises
nothing; whatever else is raised is a fault, and so is a wrong answer (AssertionError).
"""
