"""Record the network events of a Python process in the file that AUDIT_LOG names.

Python imports this module at its start if its folder is in PYTHONPATH.
"""

import os
import sys

LOG = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def record(event: str, _: tuple[object, ...]) -> None:
    """Write the name of a network event."""
    if event.startswith("socket."):
        os.write(LOG, f"{event}\n".encode())


sys.addaudithook(record)
os.write(LOG, b"started\n")
