import onnx
import pytest

from boats_runtime.model.protobuf import read_fields


def test_read_fields__every_wire_type() -> None:
    attribute = onnx.AttributeProto(name="größe", i=-3, f=1.5, ints=[1, 300], s=b"\0\xff")
    fields = {
        number: bytes(value) if isinstance(value, memoryview) else value
        for number, _, value in read_fields(memoryview(attribute.SerializeToString()))
    }
    assert fields[1] == "größe".encode()
    assert fields[3] == (1 << 64) - 3  # two's complement
    assert fields[2] == b"\x00\x00\xc0\x3f"
    assert fields[4] == b"\0\xff"


def test_read_fields__repeated_fields_keep_their_order() -> None:
    message = onnx.NodeProto(input=["b", "a", ""]).SerializeToString()
    values = [bytes(value) for _, _, value in read_fields(memoryview(message))]
    assert values == [b"b", b"a", b""]


def test_read_fields__empty_message() -> None:
    assert list(read_fields(memoryview(b""))) == []


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\x80", id="unterminated number"),
        pytest.param(b"\xff" * 11, id="number of more than 64 bits"),
        pytest.param(b"\x0a\x05abc", id="truncated text"),
        pytest.param(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", id="text of huge size"),
        pytest.param(b"\x0d\x00", id="truncated fixed number"),
        pytest.param(b"\x0b\x0c", id="group, which is obsolete"),
        pytest.param(b"\x07", id="unknown wire type"),
        pytest.param(b"\x02\x00", id="field 0"),
        pytest.param(b"\x00\x01", id="number of field 0"),
        pytest.param(b"\x08\x81\x00", id="number in a longer form"),
        pytest.param(b"\x88\x00\x01", id="field number in a longer form"),
        pytest.param(b"\x0a\x81\x00a", id="size in a longer form"),
        pytest.param(b"\x08" + b"\xff" * 9 + b"\x02", id="number of 65 bits"),
    ],
)
def test_read_fields__malformed(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"field|number"):
        list(read_fields(memoryview(content)))
