#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = ["attrs>=24.2", "modal>=1.6"]
# ///
"""Sandboxes at Modal from the command line: `@modal_sandbox.py` in configurations of `type = "default"`.

Runs under `python` where `offload-modal` is installed, and under `uv run`, which installs Modal's SDK for it: the rest
it takes from where it stands.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

try:
    from offload_modal.scripts._arguments import main
except ModuleNotFoundError as error:
    sys.exit(f"modal_sandbox.py: {error}; `pip install offload-modal` for the Python that runs it")

if __name__ == "__main__":
    sys.exit(main())
