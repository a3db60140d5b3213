"""Who asks: by a client certificate, a token from a file, or a short-lived token of the local issuer.

A certificate, where there is one, says it alone; a token goes with it only when it was asked for on the same line.
The local issuer is used only when its key is readable here, which is already the power to make any token.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from aisecops_server.cli.configuration import settings, tenant_settings
from aisecops_server.cli.invocation import current
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.errors import InvalidRequestError, NotPermittedError

FILE_VARIABLE = "AISECOPS_TOKEN_FILE"
CA_VARIABLE = "AISECOPS_CA_FILE"
CERTIFICATE_VARIABLE = "AISECOPS_CERT_FILE"
KEY_VARIABLE = "AISECOPS_CERT_KEY_FILE"
SYSTEM = "system"
LOCAL_SECONDS = 600
LOCAL_SUBJECT = "operator@localhost"


@dataclass(frozen=True, slots=True)
class TlsFilesGiven:
    """The files for TLS that were named. ``ca`` may be the word ``system``."""

    ca: str
    certificate: str
    key: str


def tls_given() -> TlsFilesGiven | None:
    """Return the files for TLS, or ``None`` when none was named on the line or in the environment."""
    invocation = current()
    certificate = invocation.cert or os.environ.get(CERTIFICATE_VARIABLE, "")
    ca = invocation.ca or os.environ.get(CA_VARIABLE, "")
    if not ca and not certificate:
        return None
    if not certificate:
        return TlsFilesGiven(ca, "", "")
    key = invocation.cert_key or os.environ.get(KEY_VARIABLE, "") or str(Path(certificate).with_suffix(".key"))
    return TlsFilesGiven(ca, certificate, key)


def credential(agent: str) -> str:
    """Return the token to send, empty where a certificate says who asks.

    For a named ``agent`` it is one that was made here and has the role of an agent only.

    Raises:
        InvalidRequestError: an agent was named beside a certificate, which says itself who asks.
        NotPermittedError: there is no credential, and none can be made here.
    """
    files = tls_given()
    if files is not None and files.certificate:
        if agent:
            raise InvalidRequestError(
                f"the certificate {files.certificate} says who asks, and so does --agent",
                hint="Give one of them",
                field="agent",
            )
        return Path(current().token_file).read_text(encoding="ascii").strip() if current().token_file else ""
    given = _given()
    if given and not agent:
        return Path(given).read_text(encoding="ascii").strip()
    if agent:
        return local_token(agent, (Role.AGENT,), LOCAL_SECONDS)
    return local_token(LOCAL_SUBJECT, tuple(Role), LOCAL_SECONDS)


def subject() -> str:
    """Return whom the credential names that ``credential`` would use for nobody in particular; it is no proof."""
    from aisecops_server.adapters.identity.named import named_in_certificate, named_in_token  # noqa: PLC0415

    files, given = tls_given(), _given()
    if files is not None and files.certificate:
        return named_in_certificate(Path(files.certificate))
    return named_in_token(Path(given)) if given else LOCAL_SUBJECT


def asks_as_operator(agent: str) -> bool:
    """Return whether ``credential`` would have nothing to go by and let this machine's operator ask."""
    files = tls_given()
    return not agent and not _given() and not (files and files.certificate)


def _given() -> str:
    return current().token_file or os.environ.get(FILE_VARIABLE, "")


def local_token(subject: str, roles: tuple[Role, ...], seconds: int, *, audience: str = "") -> str:
    """Return a token of the local issuer, for the control plane or another ``audience``.

    Raises:
        NotPermittedError: this machine or user has no issuer's key in the state directory.
    """
    from aisecops_server.adapters.identity.issuer import PRIVATE_KEY_FILE, local_issuer  # noqa: PLC0415
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415

    directory = settings().state_dir / "keys"
    if settings().token_keys:
        raise NotPermittedError(
            "token_keys names an identity provider, so a token of the local issuer would prove nothing",
            hint=f"Give a token of it with --token-file or {FILE_VARIABLE}, or a client certificate with --cert",
        )
    if not os.access(directory / PRIVATE_KEY_FILE, os.R_OK):
        raise NotPermittedError(
            f"there is no credential, and no issuer's key in {directory} to make one with",
            hint=f"Give a token with --token-file or {FILE_VARIABLE}, or name the control plane's --state-dir",
        )
    found = settings()
    # Of a tenant that is not there a token would be of no use, and without one it would be of none.
    tenants = (tenant_settings().tenant,) if found.tenants_file else ()
    issuer = local_issuer(
        directory, SystemClock(), audience=audience or found.token_audience, issuer=found.token_issuer
    )
    return issuer.mint(subject, roles, seconds=seconds, tenants=tenants)
