"""cargo-nextest for the tests: from PATH, or installed once into the user's cache.

`python -m tests.frameworks.nextest_tool` installs it, which takes minutes; where it is there already, or where there is
no cargo, it does nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import platformdirs

VERSION = "0.9.151"
ROOT = platformdirs.user_cache_path("offload-tests") / "cargo-nextest" / VERSION


def directory() -> Path | None:
    """Where `cargo-nextest` is; None if it is nowhere, or if there is no cargo."""
    found = shutil.which("cargo-nextest", path=os.pathsep.join([os.environ.get("PATH", ""), str(ROOT / "bin")]))
    return Path(found).parent if found and shutil.which("cargo") else None


def main() -> int:
    """Install it. Returns cargo's exit code."""
    if directory() is not None or shutil.which("cargo") is None:
        return 0
    with tempfile.TemporaryDirectory(prefix="offload-nextest-") as built:
        install = ["cargo", "install", "--quiet", "--locked", "cargo-nextest", "--version", VERSION]
        features = ["--no-default-features", "--features", "default-no-update"]
        where = {**os.environ, "CARGO_TARGET_DIR": built}
        return subprocess.run([*install, *features, "--root", str(ROOT)], env=where, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
