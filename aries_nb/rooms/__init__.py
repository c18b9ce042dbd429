"""Rooms: a feed's rows over a NATS server with JetStream, published by one process and read by many."""

__all__: list[str] = []
