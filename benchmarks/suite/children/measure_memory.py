"""Run a command and print the peak memory of its process in MB.

    python -S measure_memory.py COMMAND...

Linux counts the peak of a process before `exec` too, which is that of its parent. Therefore this
small process starts the command.
"""

import os
import subprocess
import sys

process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss / 1000)
sys.exit(os.waitstatus_to_exitcode(status))
