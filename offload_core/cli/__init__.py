"""The command line: one file a command. Only `offload` and `python -m offload_core` themselves exit the process."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (by default the process's) and return the exit code. What cannot be done is said on stderr.

    Codes are those of `offload_core.results.accounting.ExitCode`; a defect of Offload's own is 3, with its traceback.
    """
    import click

    from ..errors import OffloadError
    from .root import root
    from .saying import Terminated, explain, failed

    arguments = list(sys.argv[1:] if argv is None else argv)
    if "_OFFLOAD_COMPLETE" in os.environ:
        root.main(arguments, prog_name="offload")  # prints completions, and exits
    try:
        # not root.main, which would exit with 1, "tests failed", when nobody reads stdout
        with root.make_context("offload", arguments) as context:
            result = root.invoke(context)
        sys.stdout.flush()
        return int(result or 0)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return failed(error)
    except (click.Abort, KeyboardInterrupt):
        print("Interrupted.", file=sys.stderr)
        return 130
    except Terminated as ended:
        print("Terminated.", file=sys.stderr)
        return ended.exit_code
    except OffloadError as error:
        print(explain(error), file=sys.stderr)
        return failed(error)
    except BrokenPipeError:
        # whoever read our output has gone; what is still buffered must not fail again when Python exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception:
        import traceback

        traceback.print_exc()
        print("\nThis is a defect in Offload. Please report it, with the text above.", file=sys.stderr)
        return 3
