"""`python -m offload_core` is `offload`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
