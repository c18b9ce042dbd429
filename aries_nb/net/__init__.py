"""Connections to brokers: WebSocket sessions on a background thread, HTTP requests, tokens, limits, proxies and TLS."""

__all__: list[str] = []
