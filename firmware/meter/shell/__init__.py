"""asyncio tasks around the core: Modbus RTU and TCP, MQTT, metering, verification. No decision is made here."""
