import onnx
import pytest

from boats_runtime.model.protobuf import read_fields


def test_read_fields__every_kind() -> None:
    attribute = onnx.AttributeProto(name="größe", i=-3, f=1.5, ints=[1, 300], s=b"\0\xff")
    fields = {
        number: bytes(value) if isinstance(value, memoryview) else value
        for number, value in read_fields(memoryview(attribute.SerializeToString()))
    }
    assert fields[1] == "größe".encode()
    assert fields[3] == (1 << 64) - 3  # two's complement, as the format has negative numbers
    assert fields[2] == b"\x00\x00\xc0\x3f"
    assert fields[4] == b"\0\xff"


def test_read_fields__repeated_fields_keep_their_order() -> None:
    message = onnx.NodeProto(input=["b", "a", ""]).SerializeToString()
    assert [bytes(value) for number, value in read_fields(memoryview(message))] == [b"b", b"a", b""]


def test_read_fields__nothing() -> None:
    assert list(read_fields(memoryview(b""))) == []


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\x80", id="number without an end"),
        pytest.param(b"\xff" * 11, id="number of more than 64 bits"),
        pytest.param(b"\x0a\x05abc", id="text that is cut off"),
        pytest.param(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", id="endless text"),
        pytest.param(b"\x0d\x00", id="fixed number that is cut off"),
        pytest.param(b"\x0b\x0c", id="group, which nobody writes any more"),
        pytest.param(b"\x07", id="kind that does not exist"),
        pytest.param(b"\x02\x00", id="field 0"),
    ],
)
def test_read_fields__no_message(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"field|number"):
        list(read_fields(memoryview(content)))
