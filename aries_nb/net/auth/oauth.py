"""OAuth 2 token sources: they exchange a refresh token, a login or an application's secret for fresh access tokens."""

from __future__ import annotations

import logging
import threading
import webbrowser
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal

from aries_nb.errors import TokenError, UsageError
from aries_nb.model import Secret
from aries_nb.model.clock import steady_ns
from aries_nb.net.auth.keyring import load_secret, save_secret
from aries_nb.net.auth.token_endpoint import IssuedToken, OAuthEndpoints, request_token
from aries_nb.net.auth.tokens import PackageSource
from aries_nb.net.background import run_on_thread

__all__ = ["OAuthToken", "oauth", "oauth_client", "oauth_login"]

log = logging.getLogger("aries_nb")

MARGIN_SECONDS = 30.0  # the margin of the vendor's client (protocol page, section 6)
MARGIN_SHARE = 0.1  # of a token's life, where that is less


@dataclass(frozen=True, slots=True)
class _Login:
    redirect_uri: str
    scope: str
    timeout: float
    open_url: Callable[[str], object]


@dataclass(frozen=True, slots=True)
class _Grant:
    """The arguments of a token source. Equal grants mean the same user of the same application.

    `login` is None unless a browser login is allowed; `is_stored` means that the refresh token is stored in the
    keyring.
    """

    kind: Literal["refresh_token", "authorization_code", "client_credentials"]
    client_id: str
    client_secret: Secret | None = None
    refresh_token: Secret | None = None
    scope: str = ""
    login: _Login | None = None
    is_stored: bool = False  # the refresh token is stored in the keyring


def oauth(
    *,
    client_id: str = "",
    client_secret: str | Secret | None = None,
    refresh_token: str | Secret | None = None,
    endpoints: OAuthEndpoints | None = None,
    on_refresh_token: Callable[[str], None] | None = None,
) -> OAuthToken:
    """Return a token source that uses a refresh token: pass it as `token=` to `connect`.

    `client_id` and `client_secret` are those of the registered application, for brokers that register them; "" and None
    for none. `refresh_token` None means the one that `oauth_login(remember=True)` stored in the keyring for this
    `client_id`; if the server replaces it, the new one is stored there too. `on_refresh_token` is called with each new
    refresh token, on a background thread, so that you can store it. `endpoints` None means the broker's own. No request
    is sent before the first use.
    """
    client_secret, refresh_token = _hidden(client_secret), _hidden(refresh_token)
    if client_id or client_secret is not None or refresh_token is None:
        _check_id(client_id)
    grant = _Grant("refresh_token", client_id, client_secret, refresh_token, is_stored=refresh_token is None)
    return OAuthToken(grant, endpoints, on_refresh_token)


def oauth_login(
    *,
    client_id: str,
    client_secret: str | Secret | None = None,
    redirect_uri: str = "http://127.0.0.1/callback",
    scope: str = "",
    remember: bool = False,
    timeout: float = 300.0,
    open_url: Callable[[str], object] = webbrowser.open,
    endpoints: OAuthEndpoints | None = None,
    on_refresh_token: Callable[[str], None] | None = None,
) -> OAuthToken:
    """Return a token source that asks for one login in the browser, at its first use.

    Pass it as `token=` to `connect`. `client_id` is that of the application registered with the broker. `redirect_uri`
    is the address on this machine that is registered with it; without a port a free one is used. `scope` is a list
    separated by blanks. `timeout` is the time for the login, in seconds. With `remember` the refresh token is stored in
    the keyring, and no login is needed while it is valid. Without a `client_secret` the login uses PKCE. `open_url`
    opens the address; pass `print` where no browser can be started. `endpoints` None means the broker's own.
    `on_refresh_token` is called with each new refresh token, on a background thread.
    """
    client_secret = _hidden(client_secret)
    _check_id(client_id)
    login = _Login(redirect_uri, scope, timeout, open_url)
    grant = _Grant("authorization_code", client_id, client_secret, login=login, is_stored=remember)
    return OAuthToken(grant, endpoints, on_refresh_token)


def oauth_client(
    *, client_id: str, client_secret: str | Secret, scope: str = "", endpoints: OAuthEndpoints | None = None
) -> OAuthToken:
    """Return a token source for an application without a user's login (OAuth client credentials).

    Pass it as `token=` to `connect`. Only for brokers that allow it. `client_id` and `client_secret` are those of the
    registered application. `scope` is a list separated by blanks. `endpoints` None means the broker's own. No request
    is sent before the first use.
    """
    secret = _hidden(client_secret)
    del client_secret  # a traceback may show this frame
    _check_id(client_id)
    return OAuthToken(_Grant("client_credentials", client_id, secret, scope=scope), endpoints)


class OAuthToken(PackageSource):
    """A token source that caches an access token and replaces it shortly before it expires.

    All threads share one request at a time, made on a daemon thread. A refresh token or client secret that the server
    has refused is not sent again. Two sources with equal arguments are equal, so that a rerun cell finds its feed
    again. `clock` returns a time in s that goes on while the machine sleeps.
    """

    def __init__(
        self,
        grant: _Grant,
        endpoints: OAuthEndpoints | None = None,
        on_refresh_token: Callable[[str], None] | None = None,
        *,
        clock: Callable[[], float] = lambda: steady_ns() / 1e9,
    ) -> None:
        self._grant = grant
        self._endpoints = endpoints
        self._on_refresh_token = on_refresh_token
        self._clock = clock  # it goes on while a laptop sleeps
        self._guard = threading.Lock()  # of the next four
        self._access: Secret | None = None
        self._fresh_until = 0.0
        self._pending: Future[Secret] | None = None
        self._cancelled = threading.Event()
        # Owned by the thread of the fetch.
        self._refresh = grant.refresh_token
        self._refused: set[Secret] = set()
        self._may_log_in = grant.login is not None

    def __repr__(self) -> str:
        return f"OAuthToken({self._grant.kind}, client_id={self._grant.client_id!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OAuthToken) and other._grant == self._grant

    def __hash__(self) -> int:
        return hash(self._grant)

    def __reduce__(self) -> str:
        raise TypeError("a token is not to be pickled")

    def bind(self, endpoints: OAuthEndpoints) -> None:
        """Use these endpoints if none were given to the constructor; called by `connect` with those of the broker.

        Raises UsageError if the source already uses another token endpoint: a refresh token is sent only to the server
        that issued it.
        """
        if endpoints.exchange is None:
            _check_id(self._grant.client_id)
        with self._guard:
            if self._endpoints is None:
                self._endpoints = endpoints
            bound = self._endpoints
        if bound.token != endpoints.token:
            what = f"this login belongs to {bound.token}, not to {endpoints.token}"
            raise UsageError(what, advice="Make another one for each broker.")

    def __call__(self) -> Secret:
        """Return a fresh access token. Any thread may call; blocks while one is fetched.

        Raises TokenError if the server or the user refuses, and from then on at every call without a new request;
        ConnectError or FeedError if a later call may succeed.
        """
        try:
            with self._guard:
                if self._access is not None and self._clock() < self._fresh_until:
                    return self._access
                if self._pending is None:
                    self._cancelled = threading.Event()
                    self._pending = run_on_thread(self._fetch, name="aries-nb-oauth")
                pending = self._pending
            return pending.result()
        except KeyboardInterrupt:
            self._cancelled.set()  # otherwise a login would keep its port
            raise

    def refused(self, token: Secret) -> None:
        """Drop the access token `token` from the cache, because a server refused it.

        The next call fetches a new one.
        """
        with self._guard:
            if self._access == token:
                self._access = None

    # The thread of the fetch; there is one at a time.

    def _fetch(self) -> Secret:
        try:
            if self._endpoints is None:
                raise UsageError("this token source knows no server", advice="Pass it to connect, or pass endpoints=…")
            requested_at = self._clock()
            granted = self._issued(self._endpoints)
            refresh = granted.refresh
            if refresh is not None and refresh != self._refresh:
                self._refresh = refresh
                self._store(refresh)
            with self._guard:
                self._access = granted.access
                self._fresh_until = requested_at + granted.life - min(MARGIN_SECONDS, MARGIN_SHARE * granted.life)
            return granted.access
        finally:
            with self._guard:
                self._pending = None

    def _issued(self, endpoints: OAuthEndpoints) -> IssuedToken:
        refusal: TokenError | None = None
        for credential in self._credentials():
            if credential in self._refused:
                continue
            try:
                return self._request(endpoints, credential)
            except TokenError as error:
                refusal = error
                self._refused.add(credential)
        if self._may_log_in and self._grant.login is not None:
            self._may_log_in = False
            return self._log_in(endpoints, self._grant.login)
        if refusal is not None:
            raise refusal
        raise self._no_credential()

    def _credentials(self) -> list[Secret]:
        """Return the secrets to request a token with, in the order of the attempts; [] if there is none.

        They are the client's secret for client credentials, else refresh tokens: the one in memory first, then the one
        in the keyring, which another notebook may have replaced.
        """
        grant = self._grant
        if grant.kind == "client_credentials":
            own, stored = grant.client_secret, None
        else:
            own, stored = self._refresh, load_secret(grant.client_id) if grant.is_stored else None
        return [credential for credential in dict.fromkeys((own, stored)) if credential is not None]

    def _request(self, endpoints: OAuthEndpoints, credential: Secret) -> IssuedToken:
        grant = self._grant
        fields: dict[str, str | Secret | None] = {"client_id": grant.client_id, "client_secret": grant.client_secret}
        if grant.kind == "client_credentials":
            return request_token(endpoints, grant.kind, {**fields, "scope": grant.scope})
        granted = request_token(endpoints, "refresh_token", {**fields, "refresh_token": credential})
        self._refresh = credential
        # A server that does not rotate sends none: keep the one that worked.
        return IssuedToken(granted.access, granted.life, granted.refresh or credential)

    def _log_in(self, endpoints: OAuthEndpoints, login: _Login) -> IssuedToken:
        # Imported on use: it loads the standard library's web server.
        from aries_nb.net.auth.oauth_callback import CallbackServer, authorize_url, open_browser, pkce_pair

        grant = self._grant
        verifier, challenge = pkce_pair() if grant.client_secret is None else (None, "")
        with CallbackServer(login.redirect_uri) as server:
            url = authorize_url(
                endpoints.authorize,
                client_id=grant.client_id,
                redirect_uri=server.redirect_uri,
                scope=login.scope,
                state=server.state,
                code_challenge=challenge,
                code_challenge_method="S256" if challenge else "",
            )
            open_browser(login.open_url, url)
            code = server.wait(login.timeout, self._cancelled)
        fields = {
            "client_id": grant.client_id,
            "client_secret": grant.client_secret,
            "code": code,
            "code_verifier": verifier,
            "redirect_uri": server.redirect_uri,
        }
        return request_token(endpoints, grant.kind, fields)

    def _store(self, refresh: Secret) -> None:
        """Store a new refresh token in the keyring, if it is kept there, and pass it to the user's callback.

        A failure of either is logged; the token then lasts only until this process ends.
        """
        if self._grant.is_stored:
            try:
                save_secret(self._grant.client_id, refresh)
            except TokenError as error:
                log.warning("the new refresh token is only in memory: %s", error)
        if self._on_refresh_token is not None:
            try:
                self._on_refresh_token(refresh.reveal())
            except Exception as error:  # the border to the user's code; its text may hold the token
                log.warning("on_refresh_token raised %s: the new refresh token may be lost", type(error).__name__)

    def _no_credential(self) -> TokenError:
        if self._refused:
            advice = "Log in again: make a new token source, with a new refresh token or oauth_login(…)."
            return TokenError("the server refused this login before", advice=advice)
        if self._grant.login is not None:
            return TokenError("the login did not succeed", advice="Make a new oauth_login(…) and connect again.")
        advice = "Pass refresh_token=…, or log in once with oauth_login(…, remember=True)."
        what = f"the keyring holds no refresh token for {self._grant.client_id!r}"
        return TokenError(what, advice=advice)


def _hidden(value: object) -> Secret | None:
    if value is None or isinstance(value, Secret):
        return value
    text = str(value).strip()  # of any type: a traceback would show it
    return Secret(text) if text else None


def _check_id(client_id: str) -> None:
    if not client_id.strip():
        raise UsageError("client_id is blank", advice="It is shown where the application is registered.")
