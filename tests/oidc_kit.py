"""An OpenID provider of these tests' own: a real server with discovery, keys, authorize and token.

It keeps the rules of a good one (exact redirect address, PKCE, codes that count once, the client's
secret); ``twist`` bends the token of the next login, ``metadata`` what is published.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

CLIENT, SECRET = "avsafe-test", "s3cret & with /odd: 100%+ signs"


class Provider:
    """Running from the start; ``close`` ends it."""

    def __init__(self):
        self.redirect_uri = ""
        self.keys = {}
        self.rotate("k1")
        self.who = {"sub": "subject-1", "preferred_username": "ada", "groups": ["/creators"]}
        self.twist = None  # claims, header -> token
        self.metadata, self.metadata_answer = {}, None
        self.codes = {}
        self.down = self.public = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.issuer = f"http://127.0.0.1:{self._server.server_port}/realms/lab"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def rotate(self, kid):
        """One new key, and none of those before."""
        self.kid = kid
        self.keys = {kid: ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})}

    def signed(self, claims, header=None):
        full = {"alg": "ES256", "kid": self.kid} | (header or {})
        return jwt.encode(full, claims, self.keys[self.kid])

    def claims(self, **more):
        now = int(time.time())
        return {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300} | more

    # ------------------------------------------------------------ what it answers

    def discovery(self):
        base = self.issuer
        return {
            "issuer": base,
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
            "jwks_uri": f"{base}/keys",
            "end_session_endpoint": f"{base}/logout",
            "authorization_response_iss_parameter_supported": True,
        } | self.metadata

    def published(self):
        return KeySet(list(self.keys.values())).as_dict(private=False)

    def authorize(self, query):
        assert query["client_id"] == CLIENT
        assert query["redirect_uri"] == self.redirect_uri
        assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
        code = secrets.token_urlsafe(16)
        self.codes[code] = query | {"who": dict(self.who)}
        return {"code": code, "state": query["state"], "iss": self.issuer}

    def token(self, form, authorization):
        kind, _, given = authorization.partition(" ")
        client = [unquote_plus(one) for one in base64.b64decode(given).decode().split(":")]
        known = form.get("client_id") == CLIENT if self.public else client == [CLIENT, SECRET]
        if not known or (kind == "Basic") == self.public:
            return 401, {"error": "invalid_client"}
        asked = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if (
            asked is None
            or form.get("redirect_uri") != asked["redirect_uri"]
            or challenge != asked["code_challenge"]
        ):
            return 400, {"error": "invalid_grant"}
        claims = self.claims(nonce=asked["nonce"], **asked["who"])
        twist, self.twist = self.twist, None
        token = twist(claims) if twist else self.signed(claims)
        return 200, {"access_token": "at", "token_type": "Bearer", "id_token": token}


def _handler(provider):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            what = parts.path.removeprefix("/realms/lab")
            if provider.down:
                self._answer(500, {})
            elif what == "/.well-known/openid-configuration":
                self._answer(*(provider.metadata_answer or (200, provider.discovery())))
            elif what == "/keys":
                self._answer(200, provider.published())
            elif what == "/authorize":
                query = {k: v[0] for k, v in parse_qs(parts.query).items()}
                there = query["redirect_uri"] + "?" + urlencode(provider.authorize(query))
                self.send_response(302)
                self.send_header("Location", there)
                self.end_headers()
            else:
                self._answer(404, {})

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            form = {k: v[0] for k, v in parse_qs(body).items()}
            self._answer(*provider.token(form, self.headers.get("authorization", "")))

        def _answer(self, status, value):
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    return Handler
