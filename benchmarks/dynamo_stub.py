"""A server that takes BatchWriteItem as fast as it can and keeps nothing: `python -m benchmarks.dynamo_stub`.

It prints its port. Each answer says that nothing is left, and the units if they were asked for. `GET /` tells how many
items it was given, and begins to count anew.
"""

from __future__ import annotations

import asyncio

PLAIN = b'{"UnprocessedItems":{}}'
METERED = b'{"UnprocessedItems":{},"ConsumedCapacity":[{"TableName":"t","CapacityUnits":%d.0}]}'


class Stub(asyncio.Protocol):
    given = 0

    def __init__(self) -> None:
        self.held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.held += data
        while (end := self.held.find(b"\r\n\r\n")) >= 0:
            head = self.held[:end].lower()
            if head.startswith(b"get"):
                self._answer(b"%d" % Stub.given)
                Stub.given, self.held = 0, self.held[end + 4 :]
                continue
            length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            if len(self.held) < end + 4 + length:
                return
            body = self.held[end + 4 : end + 4 + length]
            self.held = self.held[end + 4 + length :]
            items = body.count(b'"PutRequest"')
            Stub.given += items
            self._answer(METERED % items if b'"ReturnConsumedCapacity"' in body else PLAIN)

    def _answer(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\n\r\n"
        self.transport.write(head % len(body) + body)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
