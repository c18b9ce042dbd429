"""Quotes and trades in the shape of Alpaca's public market data stream."""

from aries_nb.brokers import Accepted, Acknowledged, Broker, Endpoint, JsonProtocol, Refused, Update, nanoseconds

FIELDS = {
    "quotes": {"bid_price": "bp", "bid_size": "bs", "ask_price": "ap", "ask_size": "as"},
    "trades": {"price": "p", "size": "s", "trade_id": "i", "venue": "x"},
}
KINDS = {"q": "quotes", "t": "trades"}


class AlpacaMarket(JsonProtocol):
    COLUMNS = {
        "quotes": dict.fromkeys(FIELDS["quotes"], "number"),
        "trades": {"price": "number", "size": "number", "trade_id": "integer", "venue": "text"},
    }
    ACKNOWLEDGES = True

    def login(self, token):
        key, _, secret = token.partition(":")
        return {"action": "auth", "key": key, "secret": secret}

    def ask(self, streams):
        yield {"action": "subscribe", **symbols_by_kind(streams)}

    def give_up(self, streams):
        yield {"action": "unsubscribe", **symbols_by_kind(streams)}

    def read(self, message):
        for item in message:
            if kind := KINDS.get(item["T"]):
                values = {column: item.get(name) for column, name in FIELDS[kind].items()}
                yield Update(kind, item["S"], nanoseconds(item["t"]), values)
            elif item["T"] == "subscription":
                yield Acknowledged()
            elif item["T"] == "error":
                yield Refused(item["msg"])
            elif item.get("msg") == "authenticated":
                yield Accepted()


def symbols_by_kind(streams):
    return {name: [symbol for kind, symbol in streams if kind == name] for name in FIELDS}


BROKER = Broker("alpaca", "wss://stream.data.alpaca.markets", market=Endpoint("/v2/iex", AlpacaMarket))
