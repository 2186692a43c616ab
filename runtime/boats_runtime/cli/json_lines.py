"""Files of JSON lines that a killed process can leave with an incomplete last line."""

import json
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

Value = TypeVar("Value")


def read_json_lines(stream: BinaryIO, start: bytes, parse: Callable[[Any], Value]) -> list[Value]:
    """Parse the lines of a file and remove an incomplete last line from it.

    Args:
        stream: File opened for reading and appending.
        start: First byte of each line; an incomplete line that starts otherwise is not removed.
        parse: Function that converts the JSON value of a line.

    Raises:
        ValueError: If a line has other content; the message is its number: "line 3".
    """
    stream.seek(0)
    values = []
    end = 0
    for number, line in enumerate(stream, 1):
        complete = line.endswith(b"\n")
        try:
            value = parse(json.loads(line))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if complete or not line.startswith(start) or not isinstance(error, ValueError):
                raise ValueError(f"line {number}") from error
        if not complete:
            stream.truncate(end)
            break
        values.append(value)
        end += len(line)
    return values
