"""From plain methods to gRPC handlers: each call is counted, may be delayed or refused, then answered."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol

from google.protobuf.message import Message
from grpclib import GRPCError, Status
from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.encoding.proto import ProtoCodec
from grpclib.protocol import H2Protocol
from grpclib.server import Server, Stream
from h2.settings import SettingCodes
from modal_proto import api_pb2


class Before(Protocol):
    """What is asked before each call; it may wait, and it may raise GRPCError."""

    async def __call__(self, method: str, request: Message) -> None: ...


class _AnyMethod:
    """Stands for a service while only the types of its methods are wanted."""

    def __getattr__(self, name: str) -> None:
        return None


class Service:
    """The methods of `implementation` under the names and types of a generated service.

    A method that is named in the generated service and missing here is answered with UNIMPLEMENTED. A method takes
    the request; it returns the reply, or is an async generator of replies.
    """

    def __init__(self, generated: type, implementation: object, before: Before) -> None:
        self._mapping: dict[str, Handler] = {}
        for path, types in generated.__mapping__(_AnyMethod()).items():  # type: ignore[attr-defined]
            name = path.rpartition("/")[2]
            method = getattr(implementation, name, None)
            if method is not None:
                function = _handler(name, method, types.cardinality, before)
                self._mapping[path] = types._replace(func=function)

    def __mapping__(self) -> dict[str, Handler]:
        return self._mapping


def _handler(
    name: str, method: Callable[..., Any], cardinality: Cardinality, before: Before
) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
    async def first_message(stream: Stream[Any, Any]) -> Message:
        message: Message | None = await stream.recv_message()
        if message is None:
            raise GRPCError(Status.INVALID_ARGUMENT, "a call without a message")
        await before(name, message)
        return message

    async def unary(stream: Stream[Any, Any]) -> None:
        await stream.send_message(await method(await first_message(stream)))

    async def replies(stream: Stream[Any, Any]) -> None:
        answers: AsyncIterator[Message] = method(await first_message(stream))
        async for answer in answers:
            await stream.send_message(answer)

    async def requests(stream: Stream[Any, Any]) -> None:
        await stream.send_message(await method(await first_message(stream), aiter(stream)))

    if cardinality is Cardinality.STREAM_UNARY:
        return requests
    return replies if inspect.isasyncgenfunction(method) else unary


class _Details(StatusDetailsCodecBase):
    """Encodes what Modal adds to a gRPC status, such as when to try again."""

    def encode(self, status: Status, message: str | None, details: Sequence[Message] | None) -> bytes:
        encoded = api_pb2.RPCStatus(code=status.value, message=message or "")
        for detail in details or ():
            encoded.details.add().Pack(detail, type_url_prefix="type.modal.com/")
        return encoded.SerializeToString()

    def decode(self, status: Status, message: str | None, data: bytes) -> None:
        raise NotImplementedError("a server decodes no status")


class LimitedServer(Server):
    """A gRPC server that allows `streams` calls at once on each connection."""

    def __init__(self, services: list[Service], streams: int) -> None:
        super().__init__(services, codec=ProtoCodec(), status_details_codec=_Details())
        self._streams = streams

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        made = protocol.connection_made

        def connection_made(transport: Any) -> None:
            made(transport)
            # grpclib has no setting for it; h2 starts with 100.
            connection = protocol.connection._connection  # noqa: SLF001
            connection.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: self._streams})
            protocol.connection.flush()

        protocol.connection_made = connection_made  # type: ignore[method-assign]
        return protocol
