"""Replace this process by a command that can be interrupted and has a limited file size.

Usage: python launcher.py FILE_SIZE_LIMIT COMMAND...
"""

import os
import resource
import signal
import sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
if limit := int(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606
