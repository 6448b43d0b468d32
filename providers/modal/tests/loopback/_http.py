"""The HTTP side: where blobs are put, and the commands of a person at a shell."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from aiohttp import web

from ._files import Files

Commands = Mapping[str, Callable[..., Any]]


class HttpSide:
    """`PUT /blobs/…` for the SDK; `POST /<command>` with a JSON object of its arguments for people."""

    def __init__(self, files: Files, commands: Commands) -> None:
        self._files = files
        self._commands = commands
        application = web.Application(client_max_size=1 << 30)
        application.router.add_put("/blobs/{blob}", self._put_blob)
        application.router.add_post("/{command}", self._command)
        self._runner = web.AppRunner(application, access_log=None)

    async def start(self) -> str:
        """Serve on a free port; the URL."""
        listener = socket.create_server(("127.0.0.1", 0))
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    async def stop(self) -> None:
        """Serve no longer."""
        await self._runner.cleanup()

    async def _put_blob(self, request: web.Request) -> web.Response:
        try:
            etag = self._files.keep_blob(request.match_info["blob"], await request.read())
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.Response(headers={"ETag": f'"{etag}"'})

    async def _command(self, request: web.Request) -> web.Response:
        command = self._commands.get(request.match_info["command"])
        if command is None:
            return web.Response(status=404, text=f"the commands are: {', '.join(sorted(self._commands))}\n")
        try:
            arguments = json.loads(await request.read() or b"{}")
            # A command waits for this event loop, so it must not be called on it.
            answer = await asyncio.to_thread(command, **arguments)
        except (TypeError, ValueError, LookupError) as error:
            return web.Response(status=400, text=f"{error!r}\n")
        return web.json_response(answer, dumps=_dumps)


def _dumps(answer: Any) -> str:
    return json.dumps(answer, default=attrs.asdict) + "\n"
