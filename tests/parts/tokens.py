"""Issuers of tokens: real keys, and a token signed in whatever way a test wants."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import PyJWS
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

SECRET = "0123456789abcdef0123456789abcdef"
NOW = 1_700_000_000.0


def segment(found: object) -> str:
    data = found if isinstance(found, bytes) else json.dumps(found).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def hs256(
    claims: object, secret: str | bytes = SECRET, head: dict[str, Any] | None = None
) -> str:
    """Sign by hand, so that no library refuses what an attacker would send."""
    key = secret.encode() if isinstance(secret, str) else secret
    text = f"{segment({'alg': 'HS256', **(head or {})})}.{segment(claims)}"
    return f"{text}.{segment(hmac.digest(key, text.encode(), hashlib.sha256))}"


class Issuer:
    """One private key; `jwk` is what is published of it."""

    def __init__(self, algorithm: str, key_id: str | None = "k1") -> None:
        self.algorithm = algorithm
        self.key_id = key_id
        self.private, published = _made(algorithm)
        self.jwk: dict[str, Any] = json.loads(published)
        if key_id is not None:
            self.jwk["kid"] = key_id

    def sign(self, claims: object, **head: Any) -> str:
        headers = {"kid": self.key_id, **head} if self.key_id else head
        payload = json.dumps(claims).encode()
        return PyJWS().encode(payload, self.private, self.algorithm, headers=headers)


def _made(algorithm: str) -> tuple[Any, str]:
    if algorithm == "RS256":
        rsa_key = rsa.generate_private_key(65537, 2048)
        return rsa_key, RSAAlgorithm.to_jwk(rsa_key.public_key())
    if algorithm == "ES256":
        ec_key = ec.generate_private_key(ec.SECP256R1())
        return ec_key, ECAlgorithm.to_jwk(ec_key.public_key())
    okp_key = ed25519.Ed25519PrivateKey.generate()
    return okp_key, OKPAlgorithm.to_jwk(okp_key.public_key())
