import hashlib

import pytest

from boats_runtime.errors import ModelError
from boats_runtime.model.digest import PLACEHOLDER, verify_digest, write_digest

HEAD, TAIL = b'\x08\x0a{"digest": "', b'"}\x00weights\xff'
CONTENT = HEAD + PLACEHOLDER.encode() + TAIL
SEALED = write_digest(CONTENT)


def recorded(content: bytes) -> str:
    """Reads the digest from its place, as the metadata would tell it."""
    return content[len(HEAD) : len(HEAD) + len(PLACEHOLDER)].decode()


def test_seal__round_trip() -> None:
    before, after = SEALED.split(recorded(SEALED).encode())
    assert (before, after) == (HEAD, TAIL)
    assert recorded(SEALED) != PLACEHOLDER
    verify_digest(SEALED, recorded(SEALED))


@pytest.mark.parametrize(
    "content",
    [b"", HEAD + TAIL, CONTENT + PLACEHOLDER.encode(), HEAD + PLACEHOLDER[1:].encode() + TAIL],
)
def test_seal__not_one_blank(content: bytes) -> None:
    with pytest.raises(ValueError, match="not once"):
        write_digest(content)


@pytest.mark.parametrize(
    "place", [0, len(HEAD) - 1, len(HEAD), len(HEAD) + 31, len(HEAD) + 63, len(HEAD) + 64, -1]
)
@pytest.mark.parametrize("bit", [1, 64])
def test_check_seal__a_changed_byte(place: int, bit: int) -> None:
    changed = bytearray(SEALED)
    changed[place] ^= bit
    for digest in {recorded(SEALED), recorded(bytes(changed))}:
        with pytest.raises(ModelError, match=r"changed or damaged .*; export it again"):
            verify_digest(bytes(changed), digest)


@pytest.mark.parametrize(
    "content",
    [SEALED + b"\x00", b"\x00" + SEALED, SEALED[:-1], SEALED[1:], SEALED[: len(HEAD) + 64], b""],
)
def test_check_seal__bytes_added_or_removed(content: bytes) -> None:
    with pytest.raises(ModelError, match="does not match its own digest"):
        verify_digest(content, recorded(SEALED))


@pytest.mark.parametrize(
    "digest",
    ["", recorded(SEALED)[:-1], recorded(SEALED) + '"', recorded(SEALED).upper(), PLACEHOLDER],
)
def test_check_seal__another_digest(digest: str) -> None:
    with pytest.raises(ModelError, match="does not match its own digest"):
        verify_digest(SEALED, digest)


def test_check_seal__digest_occurs_twice() -> None:
    twice = CONTENT + PLACEHOLDER.encode()
    digest = hashlib.sha256(twice).hexdigest()
    with pytest.raises(ModelError, match="does not match its own digest"):
        verify_digest(twice.replace(PLACEHOLDER.encode(), digest.encode()), digest)


@pytest.mark.parametrize("digest", ["\ud800", "", "0" * 63, "A" * 64, "x" * 200])
def test_check_seal__digest_is_none(digest: str) -> None:
    with pytest.raises(ModelError, match="does not match its own digest"):
        verify_digest(b"content", digest)
