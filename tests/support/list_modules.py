"""Run a command in this process and print the modules that it imported.

Usage: python list_modules.py MODULE[:FUNCTION] [ARGUMENT...]

With FUNCTION, `MODULE.FUNCTION()` is called with the arguments as its command line; its exit code
must be 0. The names of the imported modules are the last line on standard output.
"""

import importlib
import sys

target, _, function = sys.argv[1].partition(":")
module = importlib.import_module(target)
if function:
    sys.argv = [target, *sys.argv[2:]]
    try:
        getattr(module, function)()
    except SystemExit as stop:
        if stop.code:
            raise
print(*sys.modules)
