r"""Text of unknown origin, such as file names and labels, made safe to show.

Control characters can move the cursor of a terminal or add lines to a table, and bidirectional
overrides show a text in another order. They are shown as escapes: `\x1b`, `\u202e`, and `\xff` for
a byte of a file name that is not UTF-8. Other characters stay as they are.
"""

import re

_UNSAFE = (
    "\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u2028\u2029"  # line and paragraph separators
    "\u202a-\u202e\u2066-\u2069"  # bidirectional embeddings, overrides and isolates
    "\ud800-\udfff"  # surrogates: bytes that are not UTF-8
)
_UNSAFE_CHAR = re.compile(f"[{_UNSAFE}]")

# Backslashes before an unsafe character, or before what would read as its escape.
_PATTERN = re.compile(rf"(\\*)([{_UNSAFE}])|(\\+)(?=x[0-9a-f]{{2}}|u[0-9a-f]{{4}})")

_BYTES = range(0xDC80, 0xDD00)
"""Code points in which `os.fsdecode` keeps the bytes 0x80 to 0xff that are not UTF-8."""


def escape_text(text: str) -> str:
    """Return a text with escapes in place of control characters, as one line.

    Different texts stay different: a backslash is doubled where it could be read as an escape.
    """
    return _PATTERN.sub(_escape, text)


def is_printable(text: str) -> bool:
    """Return whether a text has no characters that `escape_text` replaces."""
    return not _UNSAFE_CHAR.search(text)


def _escape(match: re.Match[str]) -> str:
    before, char, literal = match.groups()
    if literal:
        return 2 * str(literal)
    code = ord(char)
    if code in _BYTES:
        escape = f"\\x{code - 0xDC00:02x}"
    else:
        escape = f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
    return 2 * str(before) + escape
