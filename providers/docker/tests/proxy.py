"""A socket between the provider and an engine, which can be cut: the engine itself stays as it is."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path


class Proxy:
    """Passes everything on, until it is cut.

    Attributes:
        url: what to configure instead of the engine's URL.
        mute: new connections are taken, and nothing is ever answered on them.
    """

    def __init__(self, target: Path, directory: Path) -> None:
        self.mute = False
        self._target = target
        self._path = directory / "proxy.sock"
        self.url = f"unix://{self._path}"
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listen()

    def _listen(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                with self._lock:
                    self._open |= {near, far}
                if self.mute:
                    continue
                far.connect(str(self._target))
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def drop(self) -> None:
        """End every connection there is; new ones are taken."""
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """End every connection, and take no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._path.unlink(missing_ok=True)
        self.drop()

    def close(self) -> None:
        """Give everything back."""
        self.cut()
        with self._lock:
            for each in self._open:
                each.close()

    def mend(self) -> None:
        """After `cut`: take connections again."""
        self._listen()


@contextlib.contextmanager
def proxied(target: Path) -> Iterator[Proxy]:
    """A proxy for one test."""
    with tempfile.TemporaryDirectory(prefix="offload-proxy-") as directory:
        proxy = Proxy(target, Path(directory))
        try:
            yield proxy
        finally:
            proxy.close()
