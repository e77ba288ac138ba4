"""What a fine-tuned encoder is called: NAME-ft, and further draws of it NAME-ft-draw2, ...

Dropout and the order of the examples are drawn, and a short fine-tuning hangs on them: one of them
is a sample, several have a mean and a spread.
"""

import re
from typing import NamedTuple, Self


class Taught(NamedTuple):
    """A fine-tuning of an encoder."""

    base: str
    """What the encoder is called as it was."""
    draw: int = 1

    @property
    def name(self) -> str:
        """What embeddings by it are called."""
        return f"{self.base}-ft" + (f"-draw{self.draw}" if self.draw > 1 else "")

    @classmethod
    def read(cls, name: str) -> Self | None:
        """What `name` is the name of; None where nothing fine-tuned is called so."""
        found = re.fullmatch(r"(.+)-ft(?:-draw([1-9]\d*))?", name)
        return found and cls(found[1], int(found[2] or 1))
