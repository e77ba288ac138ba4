"""Encoders as they are: found, loaded, checked, adapted, saved.

Imports `errors`, `files` and `processes`.
"""
