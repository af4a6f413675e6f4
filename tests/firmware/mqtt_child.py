"""The meter's MQTT client in a process of its own, on CPython or MicroPython, driven by tests/firmware/mqtt_peers.py.

`python mqtt_child.py HOST PORT` connects to the test there. A line of JSON {"id", "do", …} is a command and is answered
by {"id", "ok"} or {"id", "error", "detail", "packet_id"}; {"event": "message" | "end", …} is told as it happens.
"""

import asyncio
import gc
import json
import random
import sys

from meter.shell.backoff import Backoff
from meter.shell.mqtt import MqttClient
from meter.shell.mqtt_codec import MqttError
from meter.shell.pause import sleep_ms
from meter.shell.tcp_stream import tls_context


class Child:
    def __init__(self, writer):
        self._writer = writer
        self._lines = []
        self._more = asyncio.Event()
        self.client = None
        self.link = None
        self.tasks = []  # asyncio on CPython forgets a task that nobody holds

    def tell(self, **fact):
        self._lines.append(json.dumps(fact).encode() + b"\n")
        self._more.set()

    async def write(self):
        while True:
            await self._more.wait()
            self._more.clear()
            while self._lines:
                self._writer.write(self._lines.pop(0))
                await self._writer.drain()

    async def answer(self, command):
        number = command.pop("id")
        try:
            self.tell(id=number, ok=await getattr(self, command.pop("do"))(**command))
        except MqttError as error:
            self.tell(id=number, error=error.reason, detail=error.detail, packet_id=error.packet_id)
        except ValueError as error:
            self.tell(id=number, error="ValueError", detail=str(error), packet_id=0)

    # ---- commands

    async def make(self, tls=None, **options):
        if tls is not None:
            tls = (tls_context(tls["ca"], tls["cert"], tls["key"]), tls["name"])
        self.client = MqttClient(tls=tls, on_message=self.on_message, **options)

    def on_message(self, topic, payload, retained):
        self.tell(event="message", topic=topic.decode(), payload=payload.decode(), retained=retained)
        if payload == b"raise":
            raise KeyError("the application stumbles")

    async def connect(self):
        resumed = await self.client.connect()
        self.link = asyncio.create_task(self.run())
        return resumed

    async def run(self):
        error = await self.client.run()
        self.tell(event="end", reason=error and error.reason)

    async def cancel(self):
        self.link.cancel()

    async def subscribe(self, **options):
        return await self.client.subscribe(**options)

    async def publish(self, size=0, **options):
        if size:
            options["payload"] = "x" * size
        return await self.client.publish(**options)

    async def close(self):
        await self.client.close()

    async def state(self):
        client = self.client
        gc.collect()
        return {
            "oversize": client.oversize,
            "callback_errors": client.callback_errors,
            "stray_acks": client.stray_acks,
            "heap": gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0,
        }

    async def serve(self, topic, count, down):
        """Over links that break: publish 0 … count−1, each until it is acknowledged, and keep the subscription."""
        backoff = Backoff(20, 200, random.randrange)
        client = self.client
        acknowledged = 0
        links = 0
        again = 0
        while acknowledged < count:
            try:
                resumed = await client.connect()
                links += 1
                run = asyncio.create_task(client.run())
                try:
                    if not resumed or links == 1:
                        await client.subscribe(down)
                    while acknowledged < count:
                        await client.publish(topic, str(acknowledged), resend_id=again)
                        acknowledged += 1
                        again = 0
                        backoff.reset()
                except MqttError as error:
                    again = error.packet_id or again
                await client.close()
                await run
            except MqttError:
                pass
            await sleep_ms(backoff.next_ms())
        return {"links": links}


async def main(host, port):
    reader, writer = await asyncio.open_connection(host, port)
    child = Child(writer)
    writing = asyncio.create_task(child.write())
    while not writing.done():
        line = await reader.readline()
        if not line:
            return
        child.tasks = [task for task in child.tasks if not task.done()]
        child.tasks.append(asyncio.create_task(child.answer(json.loads(line))))


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
