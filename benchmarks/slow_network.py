"""A network on which each round trip takes longer: a proxy before a server that holds back what goes either way.

`slow_network.py HOST PORT MILLISECONDS` prints its own port on 127.0.0.1 and serves until it is stopped.
"""

from __future__ import annotations

import asyncio
import sys


async def one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Pass on what comes, each part so many seconds after it came."""
    clock = asyncio.get_running_loop().time
    pending: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def pass_on() -> None:
        while True:
            due, data = await pending.get()
            await asyncio.sleep(max(0.0, due - clock()))
            if not data:
                break
            writer.write(data)
            await writer.drain()
        writer.close()

    passing = asyncio.create_task(pass_on())
    data = b"?"
    while data:
        try:
            data = await reader.read(65_536)
        except OSError:
            data = b""
        pending.put_nowait((clock() + delay, data))
    await asyncio.gather(passing, return_exceptions=True)


async def main() -> None:
    """Serve every connection."""
    host, port, delay = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 2000

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(host, port)
        await asyncio.gather(one_way(reader, ours, delay), one_way(theirs, writer, delay), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
