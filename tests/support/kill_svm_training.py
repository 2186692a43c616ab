"""Run `boats-train` and kill the process at its n-th file write, counted from 1.

Usage: python -m support.kill_svm_training N OPTION...
"""

import itertools
import os
import signal
import sys

from boats_train.cli import main
from boats_train.finetune import activations, sampling

if __name__ == "__main__":
    number = int(sys.argv.pop(1))
    writes = itertools.count(1)
    os.fsync = lambda _: next(writes) == number and os.kill(os.getpid(), signal.SIGKILL)
    activations.SHARD_SIZE = 8
    sampling.granted_cpus = lambda: 0  # no workers, which would outlive a killed process
    main()
