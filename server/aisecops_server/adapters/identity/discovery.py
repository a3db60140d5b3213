"""What an OpenID provider says of itself (OpenID Connect Discovery, RFC 8414), and whether we can sign people in there.

The document is believed for the one issuer that the operator configured: it has to name that, character by character.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aisecops_server.adapters.identity.provider_http import allowed_parts
from aisecops_server.domain.errors import InvalidPlanError
from aisecops_server.domain.formats import strict_json

# Large providers announce a few kilobytes.
MOST_BYTES = 256 * 1024
_WELL_KNOWN = "/.well-known/openid-configuration"
# What a key of ours may verify; see the set of keys.
_ALGORITHMS = frozenset({"ES256", "EdDSA", "RS256", "PS256"})


@dataclass(frozen=True, slots=True)
class Discovered:
    """The addresses of one provider.

    ``names_itself`` says that its answers name the issuer (RFC 9207); ``leaving`` is where people sign out of it, and
    ``keys`` where it publishes its keys. Both may be empty.
    """

    authorization: str
    token: str
    names_itself: bool = False
    leaving: str = ""
    keys: str = ""


def discovery_address(issuer: str) -> str:
    """Return where the document of an issuer is."""
    return issuer.rstrip("/") + _WELL_KNOWN


def parsed_discovery(content: bytes, issuer: str, *, with_secret: bool) -> Discovered:
    """Return what the document says.

    Raises:
        ValueError: it is none, is another issuer's, or people cannot be signed in there.
    """
    try:
        said = strict_json.parse(content, field="discovery", limit=MOST_BYTES)
    except InvalidPlanError as error:
        raise ValueError(f"its discovery document is {error.message}") from error
    if not isinstance(said, Mapping) or said.get("issuer") != issuer:
        named = said.get("issuer") if isinstance(said, Mapping) else None
        raise ValueError(f"its discovery document is of the issuer {str(named)[:200]!r}, and not of {issuer!r}")
    _require(said, "response_types_supported", {"code"}, "it does not give codes")
    _require(said, "code_challenge_methods_supported", {"S256"}, "it does not know PKCE by S256")
    _require(said, "id_token_signing_alg_values_supported", _ALGORITHMS, "it signs by none of our algorithms")
    if with_secret:
        _require(
            said,
            "token_endpoint_auth_methods_supported",
            {"client_secret_basic"},
            "it takes no secret by client_secret_basic",
        )
    # A provider elsewhere cannot have us ask what listens on this machine.
    scheme = issuer.partition(":")[0]
    return Discovered(
        _address(said, "authorization_endpoint", scheme),
        _address(said, "token_endpoint", scheme),
        said.get("authorization_response_iss_parameter_supported") is True,
        _address(said, "end_session_endpoint", scheme, needed=False),
        _address(said, "jwks_uri", scheme, needed=False),
    )


def _require(said: Mapping[str, object], name: str, one_of: frozenset[str] | set[str], why: str) -> None:
    listed = said.get(name)
    # What a provider does not list it may all the same do; what it lists is all that it does.
    words = {value for value in listed if isinstance(value, str)} if isinstance(listed, list) else set()
    if listed is not None and not words & one_of:
        raise ValueError(why)


def _address(said: Mapping[str, object], name: str, scheme: str, *, needed: bool = True) -> str:
    found = said.get(name)
    if found is None and not needed:
        return ""
    parts = allowed_parts(found) if isinstance(found, str) else None
    if not isinstance(found, str) or parts is None or parts.scheme != scheme:
        raise ValueError(f"its {name} is no {scheme} address")
    return found
