"""`python -m loopback`: the server by hand; it says what to set, and runs until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import shlex
import signal

from . import MANY_STREAMS, Loopback


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m loopback", description="A Modal server on this machine, for tests")
    parser.add_argument("--streams", type=int, default=MANY_STREAMS, help="HTTP/2 streams per connection")
    parser.add_argument("--secret", action="append", default=[], metavar="NAME:KEY=VALUE", help="define a secret")
    arguments = parser.parse_args()
    signals = {signal.SIGINT, signal.SIGTERM}
    # Blocked before the server's thread starts, which inherits it: only sigwait takes them.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with Loopback(streams=arguments.streams) as server:
        for secret in arguments.secret:
            name, _, pair = secret.partition(":")
            key, _, value = pair.partition("=")
            server.secret(name, {key: value})
        for name, value in server.environment.items():
            print(f"export {name}={shlex.quote(value)}")
        print(f"# commands: curl -d '{{}}' {server.commands_url}/sandboxes", flush=True)
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
