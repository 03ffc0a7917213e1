"""A TCP proxy before the broker that does what networks do: refuses, cuts, stalls, drips, and stops in the middle of a packet.

A client's address never changes, also when the broker comes back on another port. MQTT is nothing to the proxy: it knows bytes.
"""

import asyncio
import contextlib
import random
import socket
import threading

#: What can happen to a connection, by the names in the report.
FAULTS = ("cut", "half", "packet", "stall", "drip", "refuse")


class Proxy:
    """Serves from a thread of its own until `close`; every method may be called from any thread."""

    def __init__(self, seed):
        self.target = None
        self.chance = random.Random(seed)
        self.pairs = set()
        self.refuses = False
        self.drips = False
        self.budget = None
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.run, name=f"proxy {self.port}", daemon=True)
        self.thread.start()

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.loop.run_until_complete(asyncio.start_server(self.serve, sock=self.listener))
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                self.loop.run_until_complete(task)

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.listener.close()

    # Faults; `seconds` is how long those last that last

    def do(self, fault, seconds):
        asyncio.run_coroutine_threadsafe(getattr(self, fault)(seconds), self.loop)

    async def cut(self, seconds):
        """Both sides hear of it at once."""
        for pair in list(self.pairs):
            pair.abort()

    async def half(self, seconds):
        """The client hears of it; the broker goes on believing in a client that will never answer."""
        pairs = list(self.pairs)
        for pair in pairs:
            pair.client.transport.abort()
            pair.isHalf = True
        await asyncio.sleep(seconds)
        for pair in pairs:
            pair.abort()

    async def packet(self, seconds):
        """After some more bytes, in the middle of whatever is on the wire then."""
        self.budget = self.chance.randint(1, 20_000)

    async def stall(self, seconds):
        self.flowing.clear()
        await asyncio.sleep(seconds)
        self.flowing.set()

    async def drip(self, seconds):
        """A bad line: small pieces, late."""
        self.drips = True
        await asyncio.sleep(seconds)
        self.drips = False

    async def refuse(self, seconds):
        """The network is gone, for those that are connected and for those that come."""
        self.refuses = True
        await self.cut(0)
        await asyncio.sleep(seconds)
        self.refuses = False

    # Carrying

    async def serve(self, reader, writer):
        if self.refuses or self.target is None:
            writer.transport.abort()
            return
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = Pair(writer, to_writer)
        self.pairs.add(pair)
        try:
            await asyncio.gather(self.carry(reader, to_writer, pair), self.carry(to_reader, writer, pair))
        finally:
            self.pairs.discard(pair)
            pair.abort()

    async def carry(self, reader, writer, pair):
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                for piece in self.pieces(data):
                    await self.flowing.wait()
                    if self.drips:
                        await asyncio.sleep(self.chance.uniform(0, 0.02))
                    if self.budget is not None:
                        self.budget -= len(piece)
                        if self.budget <= 0:
                            writer.write(piece[: len(piece) + self.budget])
                            self.budget = None
                            writer.close()
                            await writer.wait_closed()
                            break
                    writer.write(piece)
                    await writer.drain()
        if not pair.isHalf:
            pair.abort()

    def pieces(self, data):
        if not self.drips:
            return [data]
        size = self.chance.randint(1, 1500)
        return [data[start : start + size] for start in range(0, len(data), size)]


class Pair:
    """A connection from a client and the one to the broker that stands behind it."""

    def __init__(self, client, broker):
        self.client = client
        self.broker = broker
        self.isHalf = False

    def abort(self):
        self.client.transport.abort()
        self.broker.transport.abort()
