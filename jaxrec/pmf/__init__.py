"""Probabilistic Matrix Factorization: one objective and its solvers."""
