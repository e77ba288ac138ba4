"""Draws what inputs are made of: texts, numbers, JSON, and damage to what was whole."""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

READ, REFUSED = "read", "refused"
Attempt = Callable[[Random], str]
"""Draws an input and has it read; says `READ` or `REFUSED`."""

STRANGE = (
    "", " ", "\0", "a\0", "\0a", "\r", "\n", "\r\n", "\t", "\x1b[31m", "\x1b]0;title\x07", "\x7f",
    "\x85", "\u2028", "\u202e", "\u2066", "\ufeff", "\ufffd", "e\u0301", "\u0301" * 40, "é", "ß",
    "ﬁ", "İ", "\u0131", "עברית", "العربية", "日本語", "👩‍👩‍👧", "🇦🇶", "\U0001d54f",
    "[red]", "[/red]", "[/]", "[link=x]",
    "<b>", "<script>", "</script>", "&amp;", "{title}", "{", "}", "{0}", "{a.b}", "{a!r}", "%s",
    "%Y", "\\", '\\"', '"', '""', "'", "`", "$(x)", ";", ",", "|", "::", "#", "=1+1", "+1", "-1",
    "@x", "../..", "/", "~", ".", "..", "*", "?", "[a-", "null", "None", "nan", "NaN", "NULL",
    "true", "False", "inf", "-inf", "-0", "007", "+7", "0x10", "1e400", "1e-400", "1_000", "1,5",
    "1.234,5", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "9" * 40,
    "1970-01-01", "2015-13-45", "0000-00-00", "99999999999999999999", "20150131", "sep=;",
    "user_id:token", "item", "user", "rating", "timestamp",
)  # fmt: skip
"""Texts that something, somewhere, takes for something else."""
NUMBERS = (
    0, 1, -1, 2, 7, 25, 255, 2**31 - 1, 2**31, -(2**31), 2**63 - 1, 2**63, 2**64, 10**30, 0.0, -0.0,
    0.5, 1e-320, 1e308, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
LONG = 100_000
"""Characters of the longest texts; one in some hundred is."""


def refused(error: Exception) -> str:
    """`REFUSED`, which says why in a line."""
    assert str(error)
    assert "\n" not in str(error)
    return REFUSED


def text(draw: Random, most: int = 12) -> str:
    """Letters, signs of any plane, and what is `STRANGE`; hardly ever a long one."""
    if draw.random() < 0.3:
        return draw.choice(STRANGE)
    if draw.random() < 0.003:
        return (draw.choice((*STRANGE, "x")) * LONG)[:LONG]
    pieces = (
        lambda: draw.choice("abcxyz0123456789 _-.:/"),
        lambda: chr(draw.randrange(0x20, 0x2FF)),
        lambda: _any_sign(draw),
        lambda: draw.choice(STRANGE),
    )
    weights = 8, 3, 1, 1
    return "".join(one() for one in draw.choices(pieces, weights, k=draw.randrange(most)))


def _any_sign(draw: Random) -> str:
    """A character that is no half of one."""
    sign = draw.randrange(0x110000 - 0x800)
    return chr(sign if sign < 0xD800 else sign + 0x800)


def name(draw: Random) -> str:
    """A text that tables leave as it is: neither blank at its ends nor a word for nothing."""
    found = "".join(draw.choice("abcdefgh0123456789_-é日👩") for _ in range(draw.randrange(1, 9)))
    return f"m{found}"


def value(draw: Random, depth: int = 2) -> Any:
    """Of JSON or TOML."""
    kinds: list[Callable[[], Any]] = [
        lambda: draw.choice(NUMBERS),
        lambda: draw.randrange(-9, 99),
        lambda: draw.random() * 10,
        lambda: text(draw),
        lambda: draw.random() < 0.5,
        lambda: None,
    ]
    if depth:
        kinds += [
            lambda: [value(draw, depth - 1) for _ in range(draw.randrange(4))],
            lambda: {text(draw): value(draw, depth - 1) for _ in range(draw.randrange(4))},
        ]
    return draw.choice(kinds)()


def changed(draw: Random, content: Any) -> Any:
    """JSON of which one part, at any depth, is another, is gone, or is there twice."""
    if isinstance(content, dict) and content and draw.random() < 0.85:
        key = draw.choice(list(content))
        rest = {name: of for name, of in content.items() if name != key}
        how = draw.random()
        if how < 0.15:
            return rest
        if how < 0.2:
            return content | {text(draw): value(draw)}
        return content | {key: changed(draw, content[key])}
    if isinstance(content, list) and content and draw.random() < 0.7:
        place = draw.randrange(len(content))
        how = draw.random()
        if how < 0.15:
            return content[:place] + content[place + 1 :]
        if how < 0.3:
            return content + content[: place + 1]
        return [*content[:place], changed(draw, content[place]), *content[place + 1 :]]
    return value(draw)


def nested(draw: Random) -> str:
    """JSON deeper than what reads it may go."""
    depth = draw.choice((10, 500, 5000, 100_000))
    return draw.choice(("[" * depth, '{"a":' * depth, "[" * depth + "]" * depth))


def damaged(draw: Random, content: bytes) -> bytes:
    """Bytes after one to four accidents."""
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        start = draw.randrange(len(found) + 1)
        end = min(len(found), start + draw.choice((1, 1, 2, 8, 64, 1024)))
        how = draw.randrange(8)
        if how == 0:
            del found[start:]
        elif how == 1:
            del found[start:end]
        elif how == 2:
            found[start:start] = found[start:end] * draw.choice((1, 2, 50))
        elif how == 3:
            found[start:start] = draw.randbytes(draw.choice((1, 2, 16)))
        elif how == 4:
            found[start:start] = text(draw).encode()
        elif how == 5:
            found[start:end] = bytes(end - start)
        elif found[start:end]:
            found[start] ^= 1 << draw.randrange(8)
    return bytes(found)


def as_json(content: Any) -> bytes:
    """As jaxrec writes it: NaN and all."""
    return json.dumps(content, indent=2).encode()


def some(draw: Random, of: Sequence[Any]) -> list[Any]:
    """A few, in any order."""
    return draw.sample(of, draw.randrange(len(of) + 1))
