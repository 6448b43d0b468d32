"""`python -m tests.support.actionlint`: checks the workflow files, with actionlint, which Go builds where it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from platformdirs import user_cache_path

VERSION = "v1.7.12"


def main() -> int:
    """The exit code of actionlint; 0, and a word about it, where there is no Go."""
    cache = user_cache_path("offload-tests") / f"actionlint-{VERSION}"
    program = cache / "actionlint"
    if not program.exists():
        if shutil.which("go") is None:
            print("skipped: actionlint checks the workflows, and there is no Go to build it with")
            return 0
        package = f"github.com/rhysd/actionlint/cmd/actionlint@{VERSION}"
        subprocess.run(["go", "install", package], check=True, env={**os.environ, "GOBIN": str(cache)})
    workflows = sorted(Path(".github/workflows").glob("*.yml"))
    return subprocess.run([program, "-shellcheck=", *workflows], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
