"""Which characters a terminal is given: those it can show, and none that would steer it."""

import re

STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls (of escape sequences too), line ends, turns of direction, halves of characters."""


def shown(line: str, encoding: str = "utf-8") -> str:
    """A line as a terminal may print it, with backslash escapes for what it must or can not.

    Args:
        line: of any origin: an item's title may hold anything.
        encoding: the terminal's; one that Python does not know can ASCII only.
    """
    line = STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), line)
    try:
        return line.encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:
        return shown(line, "ascii")
