"""``make demo``: breaks the lab, runs the incident notebook, and says whether the shop is mended.

`python -m aof_nb.lab.demo [--fault FAULT] [--approve policy|ask|never]`. Run it from a checkout,
where the notebook is. Exit code 0 if the shop takes orders again, 1 if it does not.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from aof_nb.lab.api import FAULTS, Lab

NOTEBOOK = Path("notebooks/incident_response.ipynb")
OUTPUT = Path("runs/demo.ipynb")


def main(arguments: list[str] | None = None) -> int:
    """Runs the demo; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--fault", choices=[*FAULTS, "random"], default="random")
    parser.add_argument("--approve", choices=["policy", "ask", "never"], default="policy")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    if not NOTEBOOK.exists():
        console.print(f"{NOTEBOOK} is not here: run the demo from a checkout of aof_nb")
        return 2
    at_random = options.fault == "random"
    fault = random.choice(list(FAULTS)) if at_random else options.fault
    with tempfile.TemporaryDirectory(prefix="aof-demo-") as directory:
        console.print("Starting the lab: a small shop of real processes on this machine ...")
        lab = Lab.up(Path(directory))
        try:
            console.print(f"The shop is up: {lab.probe()}", style="green")
            chosen = " (chosen at random)" if at_random else ""
            console.print(f"Fault: [bold]{fault}[/bold]{chosen}; the agent is not told which.")
            console.print(_WHO_APPROVES[options.approve] + "\n")
            _run_notebook(fault, options.approve, lab)
            probe = lab.probe()
            console.print(f"\nThe shop now: {probe}", style="green" if probe.healthy else "red")
            console.print(
                f"The executed notebook: {OUTPUT}; as HTML: {OUTPUT.with_suffix('.html')}"
            )
            if probe.healthy:
                console.print(f"[bold green]Repaired: {fault}[/bold green]")
                return 0
            console.print(f"[bold red]The service is still failing: {fault}[/bold red]")
            return 1
        finally:
            lab.down()


_WHO_APPROVES = {
    "policy": "The notebook's own policy allows the lab's repair tools (APPROVE=ask asks you).",
    "ask": "You will be asked here before anything is repaired.",
    "never": "Nothing that needs approval will be approved.",
}


def _run_notebook(fault: str, approve: str, lab: Lab) -> None:
    repairs = "allow" if approve == "policy" else "ask"
    mode = "never" if approve == "never" else "ask"
    parameters = {"fault": fault, "repairs": repairs, "lab_directory": str(lab.directory)}
    command = [sys.executable, "-m", "aof_nb.cli", "run", str(NOTEBOOK), "--approve", mode]
    for name, value in parameters.items():
        command += ["-p", f"{name}={value}"]
    command += ["--output-notebook", str(OUTPUT), "--report", str(OUTPUT.with_suffix(".html"))]
    subprocess.run(command, check=False)


if __name__ == "__main__":
    sys.exit(main())
