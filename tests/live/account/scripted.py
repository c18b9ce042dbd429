"""Two small brokers that send what a test says: orders, own trades, positions, money and quotes of accounts.

Written from the protocol pages. A new subscriber to quotes gets the newest quote, as from the real servers.
"""

from __future__ import annotations

import json
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

import aries_nb as anb

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

Json: TypeAlias = dict[str, Any]


def connected(broker: str, url: str) -> anb.Feed:
    """A feed of a broker that is open."""
    return anb.connect(broker, url=url, token=lambda: "a token")


def iso(ns: int) -> str:
    """A time as both brokers write it, in microseconds."""
    return datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ns % 10**9 // 1000:06d}Z"


class Scripted(ABC):
    """A server on a thread of its own; `with` ends it. Its messages go out in the order of the calls."""

    def __init__(self, answers: dict[str, Json] | None = None) -> None:
        self.answers = answers or {}
        self._guard = threading.Lock()
        self._streams: dict[tuple[str, str], list[tuple[ServerConnection, Json]]] = {}
        self._quotes: dict[str, Json] = {}
        self._server = serve(self._serve, "127.0.0.1", 0, process_request=self._http)
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(30)

    def quote(self, symbol: str, bid: object, ask: object, last: object) -> None:
        with self._guard:
            self._quotes[symbol] = {"bid": bid, "ask": ask, "last": last, "ms": time.time_ns() // 1_000_000}
            for connection, request in self._streams.get(("quotes", symbol), ()):
                self._send(connection, *self.quotes_of(symbol, request))

    def tell(self, kind: str, account: str, row: Json) -> None:
        """Send a row of a table of an account."""
        with self._guard:
            for connection, request in self._streams.get((kind, account), ()):
                self._send(connection, self.row_of(kind, account, row, request))

    def _subscribed(self, kind: str, name: str, connection: ServerConnection, request: Json) -> None:
        self._streams.setdefault((kind, name), []).append((connection, request))
        if kind == "quotes" and name in self._quotes:
            self._send(connection, *self.quotes_of(name, request))

    def _send(self, connection: ServerConnection, *messages: Json) -> None:
        connection.send("\n".join(json.dumps(message, default=float) for message in messages))

    def _http(self, connection: ServerConnection, request: Request) -> Response | None:
        if "upgrade" in request.headers.get("Connection", "").lower():
            return None
        answer = self.answers.get(request.path.partition("?")[0])
        body = json.dumps(answer or {"error": "not found"}).encode()
        headers = Headers([("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        headers["Connection"] = "close"
        return Response(200 if answer else 404, "", headers, body)

    def _serve(self, connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            for text in connection:
                with self._guard:
                    self.receive(connection, json.loads(text))

    @abstractmethod
    def receive(self, connection: ServerConnection, request: Json) -> None: ...

    @abstractmethod
    def quotes_of(self, symbol: str, request: Json) -> list[Json]: ...

    @abstractmethod
    def row_of(self, kind: str, account: str, row: Json, request: Json) -> Json: ...


class ScriptedAries(Scripted):
    """Aries (protocol page §2, §3, §5): `snapshots` are those of the topic account, by account."""

    def __init__(self, accounts: Iterable[str] = ()) -> None:
        self.snapshots: dict[str, Json] = {}
        listed = [{"trading_account_id": name, "status": "ACTIVE"} for name in accounts]
        super().__init__({"/v2/users/me/accounts": {"accounts": listed}})

    def receive(self, connection: ServerConnection, request: Json) -> None:
        kind, payload = request["type"], request.get("payload")
        if kind == "ping":
            self._send(connection, {"type": "pong", "id": request.get("id")})
        elif kind == "request":
            data = {"action": "authSuccess", "id": request["id"], "data": {"expiresIn": 2_700_000}}
            self._send(connection, {"type": "event", "payload": data})
        elif isinstance(payload, list):
            for item in payload if kind == "subscribe" else ():
                if "quoteFields" in item or "tradeFields" in item:
                    self._subscribed("quotes", item["symbol"], connection, item)
        else:
            account = payload.get("params", {}).get("accountId", "")
            data = self.snapshots.get(account, {})
            self._send(connection, {"type": "subscribed", "id": request["id"], "payload": {"data": data}})
            if kind == "subscribe":
                self._subscribed("account", account, connection, request)

    def quotes_of(self, symbol: str, request: Json) -> list[Json]:
        quote = self._quotes[symbol]
        sides = {"bidPrice": quote["bid"], "bidSize": 1, "askPrice": quote["ask"], "askSize": 1}
        payload = {"action": "update", "symbol": symbol, "timestamp": quote["ms"]}
        return [
            {"type": "event", "payload": {**payload, "type": kind, "data": data}}
            for kind, data in (
                ("trade", {"lastPrice": quote["last"], "tradeTimestamp": quote["ms"]}),
                ("quote", {**sides, "quoteTimestamp": quote["ms"]}),
            )
        ]

    def row_of(self, kind: str, account: str, row: Json, request: Json) -> Json:
        name = row.pop("name")
        data = {"accountId": account, **row}
        return {"type": "event", "payload": {"topic": "account", "name": name, "target": account, "data": data}}

    def order(self, account: str, order_id: str, symbol: str, signed: Decimal, **values: object) -> None:
        side, kind = ("BUY" if signed > 0 else "SELL"), ("OPTION" if len(symbol) > 15 else "EQUITY")
        row = {"clOrdId": order_id, "symbol": symbol, "side": side, "securityType": kind, "qty": str(abs(signed))}
        row |= {"type": "LIMIT", "category": "SINGLE_LEG" if kind == "OPTION" else "EQUITY"}
        self.tell("account", account, {"name": "account.order", **row, **values})

    def position(self, account: str, symbol: str, quantity: Decimal, average: Decimal) -> None:
        self.tell("account", account, {"name": "account.position", **self.position_row(symbol, quantity, average)})

    def position_row(self, symbol: str, quantity: Decimal, average: Decimal) -> Json:
        kind = "OPTION" if len(symbol) > 15 else "EQUITY"
        return {
            "symbol": symbol,
            "securityType": kind,
            "quantity": str(quantity),
            "averagePrice": str(round(average, 4)),
        }

    def money(self, account: str, cash: Decimal) -> None:
        self.tell("account", account, {"name": "account.balance", "balance": str(cash), "cashBalance": str(cash)})

    def open(self, account: str, cash: Decimal, held: Iterable[tuple[str, Decimal, Decimal]]) -> None:
        rows = [{"accountId": account, **self.position_row(*each)} for each in held]
        balance = {"accountId": account, "balance": str(cash), "cashBalance": str(cash)}
        self.snapshots[account] = {"account": balance, "positions": rows, "ordersV2": []}


# Opcodes of ALOR's tables.
TABLES = {
    "OrdersGetAndSubscribeV2": "orders",
    "TradesGetAndSubscribeV2": "trades",
    "PositionsGetAndSubscribeV2": "positions",
    "SummariesGetAndSubscribeV2": "summaries",
}
# Names of the fields in the formats Simple, Slim and Heavy (§7.4 to §7.6).
NAMES = {
    "trades": "id id id, orderno eid orderNo, symbol sym symbol, exchange ex exchange, date d date, "
    "qtyUnits q qtyUnits, price px price, accruedInt ai accruedInt, side s side, commission cms commission, "
    "volume v volume, board b board, existing h existing",
    "positions": "volume v volume, currentVolume cv currentVolume, symbol sym symbol, exchange ex exchange, "
    "avgPrice pxavg avgPrice, qtyUnits q qtyUnits, isCurrency cur isCurrency, existing h existing",
    "summaries": "portfolioLiquidationValue plv portfolioLiquidationValue, portfolioEvaluation pe portfolioEvaluation",
    "quotes": "symbol sym symbol, exchange ex exchange, last_price c lastPrice, bid bid bid, ask ask ask, "
    "bid_vol bv bidVol, ask_vol av askVol, ob_ms_timestamp tso obMsTimestamp, accruedInt acci accruedInterest",
}


class ScriptedAlor(Scripted):
    """ALOR (protocol page §6.3, §7): `rows` are the present rows of each table, by table and portfolio."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], list[Json]] = {}
        self.accrued: dict[str, float] = {}
        super().__init__()

    def receive(self, connection: ServerConnection, request: Json) -> None:
        table = TABLES.get(request["opcode"])
        if table is not None:
            for row in self.rows.get((table, request["portfolio"]), ()):
                present = {**row, "existing": True}
                self._send(connection, self.row_of(table, request["portfolio"], present, request))
            self._subscribed(table, request["portfolio"], connection, request)
        elif request["opcode"] == "QuotesSubscribe":
            self._subscribed("quotes", request["code"], connection, request)
        self._send(connection, {"requestGuid": request["guid"], "httpCode": 200, "message": "Handled successfully"})

    def quotes_of(self, symbol: str, request: Json) -> list[Json]:
        quote = self._quotes[symbol]
        row = {"symbol": symbol, "exchange": "MOEX", "last_price": quote["last"], "bid": quote["bid"]}
        row |= {"ask": quote["ask"], "bid_vol": 1, "ask_vol": 1, "ob_ms_timestamp": quote["ms"]}
        row["accruedInt"] = self.accrued.get(symbol, 0)
        return [self.row_of("quotes", "", row, request)]

    def row_of(self, kind: str, account: str, row: Json, request: Json) -> Json:
        place = ("simple", "slim", "heavy").index(request.get("format", "Simple").lower())
        names = {(three := each.split())[0]: three[place] for each in NAMES[kind].split(", ")}
        return {"data": {names[name]: value for name, value in row.items() if name in names}, "guid": request["guid"]}

    def trade(self, account: str, trade_id: str, symbol: str, signed: Decimal, **values: object) -> None:
        row = {"id": trade_id, "orderno": trade_id, "symbol": symbol, "exchange": "MOEX", "qtyUnits": abs(signed)}
        side = "buy" if signed > 0 else "sell"
        self.tell("trades", account, {**row, "side": side, "existing": False, **values})

    def position(self, account: str, symbol: str, quantity: Decimal, average: Decimal, cost: Decimal) -> None:
        self.tell("positions", account, self.position_row(symbol, quantity, average, cost))

    def position_row(self, symbol: str, quantity: Decimal, average: Decimal, cost: Decimal) -> Json:
        row = {"volume": round(cost, 2), "currentVolume": round(cost, 2), "symbol": symbol, "exchange": "MOEX"}
        return {**row, "avgPrice": round(average, 4), "qtyUnits": quantity, "isCurrency": False, "existing": False}

    def money_row(self, cash: Decimal) -> Json:
        row = {"volume": cash, "currentVolume": cash, "symbol": "RUB", "exchange": "MOEX", "avgPrice": 1}
        return {**row, "qtyUnits": cash, "isCurrency": True, "existing": False}

    def money(self, account: str, cash: Decimal) -> None:
        self.tell("positions", account, self.money_row(cash))

    def open(self, account: str, cash: Decimal, held: Iterable[tuple[str, Decimal, Decimal, Decimal]]) -> None:
        self.rows["positions", account] = [self.money_row(cash), *(self.position_row(*each) for each in held)]
        self.rows["summaries", account] = [{"portfolioLiquidationValue": cash, "portfolioEvaluation": cash}]
