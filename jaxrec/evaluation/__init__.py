"""What is held out, how good lists are, and how sure we are of it.

Imports the ground, `data` and `topk`.
"""
