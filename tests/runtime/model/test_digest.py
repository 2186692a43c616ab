import hashlib

import pytest

from boats_runtime.errors import ModelError
from boats_runtime.model.digest import PLACEHOLDER, verify_digest, write_digest

PREFIX, SUFFIX = b'\x08\x0a{"digest": "', b'"}\x00weights\xff'
TEMPLATE = PREFIX + PLACEHOLDER.encode() + SUFFIX
CONTENT = write_digest(TEMPLATE)
START, END = len(PREFIX), len(PREFIX) + len(PLACEHOLDER)
DIGEST = CONTENT[START:END].decode()


def test_write_digest__replaces_the_placeholder() -> None:
    digest = hashlib.sha256(TEMPLATE).hexdigest()
    assert write_digest(TEMPLATE) == PREFIX + digest.encode() + SUFFIX
    verify_digest(CONTENT, DIGEST)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        PREFIX + SUFFIX,
        TEMPLATE + PLACEHOLDER.encode(),
        PREFIX + PLACEHOLDER[1:].encode() + SUFFIX,
    ],
)
def test_write_digest__not_exactly_one_placeholder(content: bytes) -> None:
    with pytest.raises(ValueError, match="exactly one digest placeholder"):
        write_digest(content)


@pytest.mark.parametrize("position", [0, START - 1, START, START + 31, END - 1, END, -1])
@pytest.mark.parametrize("bit", [1, 64])
def test_verify_digest__changed_byte(position: int, bit: int) -> None:
    changed = bytearray(CONTENT)
    changed[position] ^= bit
    for digest in {DIGEST, changed[START:END].decode()}:
        with pytest.raises(ModelError, match=r"changed or damaged .*; export it again"):
            verify_digest(bytes(changed), digest)


@pytest.mark.parametrize(
    "content",
    [CONTENT + b"\x00", b"\x00" + CONTENT, CONTENT[:-1], CONTENT[1:], CONTENT[:END], b""],
)
def test_verify_digest__added_or_removed_bytes(content: bytes) -> None:
    with pytest.raises(ModelError, match="does not match its digest"):
        verify_digest(content, DIGEST)


@pytest.mark.parametrize(
    "digest",
    [
        "",
        DIGEST[:-1],
        DIGEST + '"',
        DIGEST.upper(),
        PLACEHOLDER,
        "\ud800",
        "x" * 200,
        hashlib.sha256(b"").hexdigest(),
    ],
)
def test_verify_digest__wrong_digest(digest: str) -> None:
    with pytest.raises(ModelError, match="does not match its digest"):
        verify_digest(CONTENT, digest)


def test_verify_digest__digest_occurs_twice() -> None:
    template = TEMPLATE + PLACEHOLDER.encode()
    digest = hashlib.sha256(template).hexdigest()
    with pytest.raises(ModelError, match="does not match its digest"):
        verify_digest(template.replace(PLACEHOLDER.encode(), digest.encode()), digest)
