"""An OpenID provider that logs people in: authorization code with PKCE, and a verified ID token.

    1 the browser is sent to the provider with a state, a nonce and the hash of a verifier
    2 it comes back with a code; the provider gives an ID token for the code and the verifier
    3 the token is checked: signature by a published key and an algorithm that is allowed, issuer,
      audience, times, nonce
    4 who it names is the pair of issuer and subject; the groups say in which teams, in which roles

Nothing is fetched before somebody logs in. What the provider answers is bounded in size and time,
and redirects are not followed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from avsafe.errors import AvsafeError, MissingExtra, UsageError
from avsafe.server.people import check_names
from avsafe.server.settings import Settings, is_secure

TEAMS = "people/oidc-teams.toml"  # in the state folder: which group is which role in which team
# Signatures by a key that only the provider holds. None that a public key could be taken for the
# secret of (HS256), and not "none".
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
CALLBACK = "/auth/callback"
_LONGEST = 1 << 20
_TIMEOUT_S = 10.0
_METADATA_S, _KEYS_S = 3600.0, 300.0  # how long what was fetched is believed
_AGAIN_S = 5.0  # between two fetches for a key that is not among those known
_SKEW_S = 60
_MOST_GROUPS = 2000
_LOGGED_OUT = "http://schemas.openid.net/event/backchannel-logout"

_log = logging.getLogger(__name__)


class ProviderFailed(AvsafeError):
    """The provider does not answer, or not as a provider should."""


class NotVerified(AvsafeError):
    """What the provider is said to have signed does not hold."""


@dataclass(frozen=True)
class Person:
    """Who logged in: issuer and subject. The name is for showing, and proves nothing."""

    issuer: str
    subject: str
    name: str
    roles: tuple[tuple[str, str], ...]  # (team, role)


class Provider:
    """The provider that the settings name. For one event loop; keeps what it fetched."""

    def __init__(self, settings: Settings) -> None:
        """Raises UsageError for a secret or a file of teams that cannot be read, MissingExtra."""
        try:
            import authlib  # noqa: F401

            _http()
        except ImportError:
            raise MissingExtra(
                "Logging in by a provider needs authlib and httpx: pip install 'avsafe[serve]'."
            ) from None
        self._settings = settings
        self.issuer = settings.oidc_issuer
        self.redirect_uri = settings.address + CALLBACK
        self._metadata: tuple[float, Mapping[str, Any]] | None = None
        self._keys: tuple[float, Any] | None = None
        self._under_way: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._secret()
        if not roles_by_group(settings.home.root / TEAMS):
            _log.warning("no group is in a team yet (%s): nobody can log in by a group", TEAMS)

    # ------------------------------------------------------------ the way there and back

    async def begin(self, state: str, nonce: str, verifier: str) -> str:
        """Where the browser is sent. Raises ProviderFailed."""
        metadata = await self.metadata()
        async with self._client() as client:
            address, _ = client.create_authorization_url(
                metadata["authorization_endpoint"], state=state, code_verifier=verifier,
                nonce=nonce,
            )  # fmt: skip
        return str(address)

    async def person(self, code: str, verifier: str, nonce: str) -> Person:
        """Whom the provider gave this code for. Raises ProviderFailed, NotVerified."""
        metadata = await self.metadata()
        with _typed("the token"):
            async with asyncio.timeout(_TIMEOUT_S), self._client() as client:
                token = await client.fetch_token(
                    metadata["token_endpoint"], grant_type="authorization_code", code=code,
                    code_verifier=verifier, redirect_uri=self.redirect_uri,
                    auth=self._basic(),
                )  # fmt: skip
        raw, access = token.get("id_token"), token.get("access_token")
        if not isinstance(raw, str) or not isinstance(access, str):
            raise NotVerified("the provider gave no ID token")
        header, claims = await self._verified(raw)
        return self._person(header, claims, nonce, access)

    async def ended(self, logout_token: str) -> str:
        """Whom the provider has logged out (OpenID Connect Back-Channel Logout 1.0): the subject.

        Raises ProviderFailed, NotVerified.
        """
        from authlib.oauth2.claims import JWTClaims

        header, claims = await self._verified(logout_token)
        with _checked():
            JWTClaims(claims, header, options=self._expected()).validate(leeway=_SKEW_S)
        events = claims.get("events")
        if not isinstance(events, dict) or _LOGGED_OUT not in events or "nonce" in claims:
            raise NotVerified("it is no logout token")
        if claims.get("iat", 0) < time.time() - 600:
            raise NotVerified("the logout token is old")
        return _subject(claims)

    async def goodbye(self) -> str:
        """Where a person may end the session with the provider as well; "" where it is not said."""
        try:
            found = (await self.metadata()).get("end_session_endpoint", "")
            return found if isinstance(found, str) and self._secure(found) else ""
        except ProviderFailed:
            return ""

    # ------------------------------------------------------------ the ID token

    def _person(
        self, header: Mapping[str, Any], claims: dict[str, Any], nonce: str, access: str
    ) -> Person:
        from authlib.oidc.core import CodeIDToken

        with _checked():
            CodeIDToken(
                claims,
                header,
                options=self._expected(),
                params={
                    "nonce": nonce,
                    "client_id": self._settings.oidc_client_id,
                    "access_token": access,
                },
            ).validate(leeway=_SKEW_S)
        name = claims.get("preferred_username") or claims.get("name") or ""
        groups = claims.get(self._settings.oidc_team_claim)
        groups = [groups] if isinstance(groups, str) else groups
        known = roles_by_group(self._settings.home.root / TEAMS)
        roles = {
            role
            for group in (groups[:_MOST_GROUPS] if isinstance(groups, list) else ())
            if isinstance(group, str)
            for role in known.get(group, ())
        }
        return Person(
            self.issuer,
            _subject(claims),
            name if isinstance(name, str) else "",
            tuple(sorted(roles)),
        )

    def _expected(self) -> dict[str, Any]:
        return {
            "iss": {"essential": True, "value": self.issuer},
            "aud": {"essential": True, "value": self._settings.oidc_client_id},
            "iat": {"essential": True},
        }

    async def _verified(self, raw: str) -> tuple[Mapping[str, Any], dict[str, Any]]:
        """Header and claims of a token whose signature holds."""
        from joserfc import jws, jwt

        with _checked():
            if len(raw) > _LONGEST:
                raise ValueError("too long")
            header = jws.extract_compact(raw.encode("ascii")).headers()
            if header.get("alg") not in ALGORITHMS:
                raise ValueError("algorithm")
        keys = await self._key_set(header.get("kid"))
        with _checked():
            token = jwt.decode(raw, keys, algorithms=ALGORITHMS)
        return token.header, dict(token.claims)

    # ------------------------------------------------------------ what the provider publishes

    async def metadata(self) -> Mapping[str, Any]:
        """Its discovery document, of the issuer that the settings name. Raises ProviderFailed."""
        if self._metadata is not None and time.monotonic() < self._metadata[0] + _METADATA_S:
            return self._metadata[1]
        address = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
        found = await self._fetched(address)
        if found.get("issuer") != self.issuer:
            raise ProviderFailed(f"{address} speaks for another issuer than {self.issuer}.")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(found.get(name), str) or not self._secure(found[name]):
                raise ProviderFailed(f"The provider's {name} is no https address.")
        self._metadata = time.monotonic(), found
        return found

    async def _key_set(self, kid: object) -> Any:
        """The published keys; fetched again for one that is not among those known: keys rotate."""
        if self._keys is not None:
            fetched, keys = self._keys
            age = time.monotonic() - fetched
            known = kid is None or any(key.kid == kid for key in keys)
            if age < (_KEYS_S if known else _AGAIN_S):
                return keys
        metadata = await self.metadata()
        keys = _public_keys(await self._fetched(metadata["jwks_uri"]))
        self._keys = time.monotonic(), keys
        return keys

    async def _fetched(self, address: str) -> dict[str, Any]:
        """An object at an address. Whoever asks while it is on its way gets the same answer: many
        strangers with tokens of unknown keys are one question to the provider."""
        under_way = self._under_way.get(address)
        if under_way is None:
            under_way = asyncio.ensure_future(self._fetch(address))
            self._under_way[address] = under_way
            under_way.add_done_callback(lambda done: self._arrived(address, done))
        return await asyncio.shield(under_way)

    def _arrived(self, address: str, done: asyncio.Future[dict[str, Any]]) -> None:
        self._under_way.pop(address, None)
        if not done.cancelled():
            done.exception()  # nobody may have waited for it

    async def _fetch(self, address: str) -> dict[str, Any]:
        with _typed(urlsplit(address).path):
            async with (
                asyncio.timeout(_TIMEOUT_S),
                _http().AsyncClient(timeout=_TIMEOUT_S, verify=_tls()) as client,
                client.stream("GET", address, headers={"accept": "application/json"}) as answer,
            ):
                answer.raise_for_status()
                if answer.is_redirect:
                    raise ValueError("a redirect")
                body = bytearray()
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > _LONGEST:
                        raise ValueError("too long")
            found = json.loads(bytes(body))
            if not isinstance(found, dict):
                raise ValueError("no object")
            return found

    def _client(self) -> Any:
        from authlib.integrations.httpx_client import AsyncOAuth2Client

        secret = self._secret()
        return AsyncOAuth2Client(
            client_id=self._settings.oidc_client_id,
            client_secret=secret or None,
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            scope="openid profile",
            redirect_uri=self.redirect_uri,
            code_challenge_method="S256",
            timeout=_TIMEOUT_S,
            verify=_tls(),
        )

    def _basic(self) -> Any:
        """Id and secret as RFC 6749, 2.3.1 has them in the header: encoded as in a form. Authlib
        leaves them as they are, which a provider reads otherwise when they hold % or +."""
        secret = self._secret()
        if not secret:
            return None
        quoted = (quote(one, safe="") for one in (self._settings.oidc_client_id, secret))
        return _http().BasicAuth(*quoted)

    def _secret(self) -> str:
        """Read each time, so that a new one counts without a restart."""
        name = self._settings.oidc_client_secret_file
        if not name:
            return ""
        try:
            return Path(name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"The provider's client secret cannot be read ({type(error).__name__})."
            ) from None

    def _secure(self, address: str) -> bool:
        """https; on the machine itself http as well, when the issuer is there too."""
        return is_secure(address) and (
            urlsplit(address).scheme == "https" or urlsplit(self.issuer).scheme == "http"
        )


def roles_by_group(path: Path) -> dict[str, tuple[tuple[str, str], ...]]:
    """The file of groups: ``[groups]``, and lines ``"group" = ["team:role"]``. Without it, nobody.

    Read at each login, so that an edit counts at once. Raises UsageError.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("groups", {})
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{path.name} cannot be read: {type(error).__name__}.") from None
    if not isinstance(table, dict):
        raise UsageError(f'{path.name}: write [groups], and below it "GROUP" = ["TEAM:ROLE"].')
    found = {}
    for group, given in table.items():
        several = [given] if isinstance(given, str) else given
        if not isinstance(several, list) or not all(isinstance(one, str) for one in several):
            raise UsageError(f'{path.name}: write "GROUP" = ["TEAM:ROLE"].')
        pairs = [(team, role) for team, _, role in (one.rpartition(":") for one in several)]
        for team, role in pairs:
            check_names("user", team, role)
        found[group] = tuple(pairs)
    return found


def _public_keys(found: Mapping[str, Any]) -> Any:
    """The keys that may verify a signature: none with a secret, none meant for encryption."""
    from joserfc.jwk import JWKRegistry, KeySet

    keys = []
    for one in found.get("keys", ()) if isinstance(found.get("keys"), list) else ():
        if not isinstance(one, dict) or one.get("kty") not in ("RSA", "EC", "OKP"):
            continue
        if one.get("use", "sig") != "sig" or "d" in one:
            continue
        try:
            keys.append(JWKRegistry.import_key(one))
        except Exception as error:  # whatever a broken key makes a parser raise
            _log.warning("a key of the provider is no key (%s)", type(error).__name__)
    if not keys:
        raise ProviderFailed("The provider publishes no key that signs.")
    return KeySet(keys)


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
        raise NotVerified("the subject is none")
    return subject


@contextmanager
def _checked() -> Iterator[None]:
    """Whatever a token makes the libraries raise means: it is not taken. Says no value of it."""
    from joserfc.errors import JoseError

    try:
        yield
    except NotVerified:
        raise
    except JoseError as error:
        claim = getattr(error, "claim", None)
        what = f" ({claim})" if isinstance(claim, str) else ""
        raise NotVerified(f"the token does not hold: {error.error}{what}") from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise NotVerified(f"the token does not hold: {type(error).__name__}") from None


def _http() -> Any:
    """The client that Authlib speaks through: httpx2 where it is installed, else httpx."""
    try:
        return import_module("httpx2")
    except ImportError:
        return import_module("httpx")


@cache
def _tls() -> Any:
    """Which certificates are trusted: read once, for it takes longer than a request."""
    return _http().create_ssl_context()


@contextmanager
def _typed(what: str) -> Iterator[None]:
    from authlib.integrations.base_client import OAuthError

    http = _http()
    try:
        yield
    except OAuthError as error:
        name = error.error if isinstance(error.error, str) else ""
        raise ProviderFailed(f"The provider refuses {what} ({name[:40]!r}).") from None
    except (http.HTTPError, http.InvalidURL, TimeoutError, ValueError, RecursionError) as error:
        raise ProviderFailed(f"The provider gave no {what}: {type(error).__name__}.") from None
