import os
import sys

import pytest

from boats_runtime.text import escape_text, is_printable
from support.hostile_names import CONTROL, find_control, make_names, unescape


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gòndola 船 👩\u200d🚀.jpg", "gòndola 船 👩\u200d🚀.jpg"),
        ("C:\\users\\new\\x.jpg", "C:\\users\\new\\x.jpg"),
        ("a\nb", r"a\x0ab"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x7f\x85", r"\x7f\u0085"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\u2028", r"\u2028"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        (r"caf\xe9", r"caf\\xe9"),
        ("\\\n", r"\\\x0a"),
    ],
)
def test_escape_text__cases(text: str, shown: str) -> None:
    assert escape_text(text) == shown


def test_escape_text__hostile_names_stay_different() -> None:
    names = make_names(5000)
    shown = [escape_text(name) for name in names]
    assert len(set(shown)) == len(names)
    assert [unescape(text) for text in shown] == names
    assert not any("\n" in text or find_control(text) for text in shown)


def test_is_printable__equals_the_list_of_the_tests() -> None:
    characters = list(map(chr, range(sys.maxunicode + 1)))
    unsafe = {char for char in characters if not is_printable(char)}
    assert unsafe == {char for char in characters if CONTROL.search(char)} | {"\n"}
