"""`python -m tests.benchmarks [--quick]`: every benchmark, one after the other, as `tox -e bench` does."""

from __future__ import annotations

import argparse
import subprocess
import sys

BENCHMARKS = (
    "orchestration",
    "estimates",
    "history",
    "report",
    "networkx_suite",
    "docker_sandboxes",
    "modal_dead",
    "modal_many",
)


def main() -> int:
    """Run them, each in a process of its own; 1 if one found something wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small instances: that they work, no figures")
    options = parser.parse_args()
    worst = 0
    for name in BENCHMARKS:
        print(f"===== {name}", flush=True)
        quick = ["--quick"] if options.quick else []
        worst |= subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}", *quick], check=False).returncode != 0
    return int(worst)


if __name__ == "__main__":
    sys.exit(main())
