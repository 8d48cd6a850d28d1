"""What an import costs: whole processes, in turn, above the same process without it."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

SHELL = "from IPython.core.interactiveshell import InteractiveShell as S; s = S.instance(); "
PROGRAMS = {
    "empty": "pass",
    "import aof_nb": "import aof_nb",
    "IPython": SHELL,
    "%load_ext aof_nb": SHELL + "s.run_line_magic('load_ext', 'aof_nb')",
}


def cpu_of(program: str) -> float:
    """CPU milliseconds of a Python process, started, run and reaped."""
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{program!r} ended with status {process.returncode}")
    return 1000 * (used.ru_utime + used.ru_stime)


def import_times(rounds: int) -> dict[str, float]:
    """CPU milliseconds of each import above its own floor: medians over the rounds."""
    for program in PROGRAMS.values():
        cpu_of(program)
    samples = [{name: cpu_of(program) for name, program in PROGRAMS.items()} for _ in range(rounds)]
    above = {
        "import aof_nb": [each["import aof_nb"] - each["empty"] for each in samples],
        "%load_ext aof_nb": [each["%load_ext aof_nb"] - each["IPython"] for each in samples],
    }
    return {name: statistics.median(values) for name, values in above.items()}
