"""Names with control characters, bidirectional overrides and bytes that are not UTF-8."""

import re

import numpy as np

# Stated here again, so that a character that boats forgets is found.
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that no output may have; the line feed ends its lines."""

PIECES = (
    "topa", "gòndola", "船", "👩\u200d🚀", " ", "\\", "\\\\", "\\x1b", "\\u202e", "\\n", "x0a",
    "\n", "\r", "\r\n", "\t", "\0", "\a", "\b", "\x0b", "\x0c", "\x1b[2J", "\x1b]0;title\a",
    "\x1b]8;;http://example.com\x1b\\", "\x7f", "\x85", "\x9b31m", "\u2028", "\u2029",
    "\u202a", "\u202e", "\u202c", "\u2066", "\u2069", "\udc80", "\udcff", "\ud800",
    "'", '"', ",", ";", "|", "`", "<b>", "&amp;", "{{ 7 }}", "$x^$", "%s", "=1+1", "@SUM(A1)",
    "-1", "+1", "u2028", "\nimage.jpg   topa 0.999", "   error: ", "boats-predict: ",
)  # fmt: skip


def make_names(count: int, *, in_file_names: bool = False) -> list[str]:
    """Return names made of `PIECES`, all different, the same in each call.

    Args:
        count: Number of names.
        in_file_names: Whether all of them can be names of files on this system.
    """
    rng = np.random.default_rng(14)
    pieces = [piece for piece in PIECES if not (in_file_names and set(piece) & set("\0/\ud800"))]
    names: dict[str, None] = {}
    while len(names) < count:
        chosen = rng.integers(len(pieces), size=rng.integers(1, 6))
        names["".join(pieces[index] for index in chosen)] = None
    return list(names)


def find_control(text: str) -> str:
    """Return the first line with a control character; empty if there is none."""
    return next((line for line in text.split("\n") if CONTROL.search(line)), "")


def unescape(text: str) -> str:
    """Return the text of which `escape_text` makes this one."""
    return re.sub(r"(\\+)(x[0-9a-f]{2}|u[0-9a-f]{4})", _unescape, text)


def _unescape(match: re.Match[str]) -> str:
    backslashes, code = match.groups()
    half = "\\" * (len(backslashes) // 2)
    if len(backslashes) % 2 == 0:
        return half + code
    value = int(code[1:], 16)
    return half + chr(value + 0xDC00 if code[0] == "x" and value >= 0x80 else value)
