"""Print the provider and the limits of a child of `continue_in_child`, or kill it by a signal.

Usage: python print_limits.py PROVIDER [SIGNAL]
"""

import os
import resource
import sys

from boats_runtime.cli.limits import continue_in_child
from boats_runtime.errors import ModelError

try:
    provider = continue_in_child(100, sys.argv[1])
except ModelError as error:
    print(f"ModelError: {error}")
    sys.exit(3)
if len(sys.argv) > 2:
    os.kill(os.getpid(), int(sys.argv[2]))
limits = [resource.getrlimit(name)[0] for name in (resource.RLIMIT_CPU, resource.RLIMIT_AS)]
print(provider, *limits)
