"""Measures how long `risctl --help` takes beside importing typer and rich alone.

Usage: python benchmarks/help_time.py [SUBCOMMAND ...]

Prints the medians of 11 runs in turns and their ratio.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 11
BASELINE = (sys.executable, "-c", "import typer, rich.console, rich.markdown, rich.table, rich.panel")


def seconds_of(command: tuple[str, ...]) -> float:
    """Returns the wall time of one process."""
    begin = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def main(subcommands: list[str]) -> None:
    """Runs both in turns and prints their medians in milliseconds and the ratio."""
    entry = "from risctl.cli.app import main; main()"
    commands = {
        "import typer": (sys.executable, "-c", "import typer"),
        "import typer and the rich modules that its help draws with": BASELINE,
        f"risctl {' '.join([*subcommands, '--help'])}": (sys.executable, "-c", entry, *subcommands, "--help"),
    }
    for command in commands.values():
        seconds_of(command)  # compiled and cached files
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            times[name].append(seconds_of(command))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        print(f"{median * 1e3:6.0f} ms  {name}")
    bare, drawing, helped = medians.values()
    print(f"ratio {helped / bare:.2f} to importing typer, {helped / drawing:.2f} to importing typer and rich")


if __name__ == "__main__":
    main(sys.argv[1:])
