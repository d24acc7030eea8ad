"""How the server listens."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tuningfork.errors import RunError
from tuningfork.feedback.serving import listen


def test_answers_are_sent_at_once() -> None:
    """asyncio sets TCP_NODELAY only where the listening socket names its protocol; else each answer waits some 40 ms."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    seen: list[int] = []

    async def serve() -> None:
        def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(accept, sock=listener):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await reader.read()
            writer.close()

    asyncio.run(serve())
    assert seen and seen[0] != 0


def test_a_port_that_is_taken_is_said() -> None:
    first = listen("127.0.0.1", 0)
    port = first.getsockname()[1]
    with pytest.raises(RunError, match=f"port {port}.*choose another --port"):
        listen("127.0.0.1", port)
    first.close()
