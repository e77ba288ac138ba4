"""The one exception a user can mend."""


class InputError(ValueError):
    """One line that names the file, the row and the remedy; the CLI exits with status 2."""
