"""Secrets: private keys, the formats that issuers made to be recognised, tokens, and values given to names of secrets.

Formats with a checksum are believed by it. What has the form and a wrong checksum is told as a look-alike: it is a
placeholder, or a secret in which somebody changed a letter.
"""

# ruff: noqa: RUF001 - letters that look like others are what this is about
from __future__ import annotations

import binascii
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import log2

import re2

from aisecops_server.domain.screening.pattern_union import PatternUnion

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_STEPS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_URL_SAFE = str.maketrans("-_", "+/")
_CRC_DIGITS = 6
_PREFIX = 4
_LOOK_ALIKE = "secret.token_lookalike"
_KEY_BLOCK = "secret.private_key"
_LONGEST_BLOCK = 16 * 1024
_BLOCK_BODY = re2.compile(
    r"(?:[A-Za-z0-9+/=]|\\[nr]|[ \t\r\n]|[A-Za-z-]{1,24}: [^\n]{1,80})*(?:-----END [A-Z0-9 "
    r"]{0,24}PRIVATE KEY(?: BLOCK)?-----)?"
)
# Bits of a value's letters, by how often each occurs. Words of any language stay below.
_LEAST_BITS = 24.0
_LEAST_KINDS = 2
_LONG = 20
# Names, expressions and stand-ins, which are given to names of secrets more often than secrets are.
_PLACEHOLDER = re2.compile(
    r"(?i)^(?:\$\{.*|\$[a-z_]+|%[a-z_]+%|\{\{.*|<.*|\[.*\]|\{.*|x{4,}.*|\*+|\.{3,}"
    r"|.*(?:example|sample|placeholder|change_?me|your[_-]|redacted|dummy).*"
    r"|n/a|null|none|true|false|undefined|required|optional"
    r"|[a-z]+(?:_[a-z]+)*|[a-z_]\w*(?:\.\w+)*[(\[].*|[a-z_]+(?:\.[a-z_]+)+"
    r"|[a-z][a-z0-9]*(?:key|type|class|token|error|provider|manager|config|service))$"
)


@dataclass(frozen=True, slots=True)
class _Format:
    """A form of secrets. ``judge`` looks closer at a match and names the detector, or none."""

    pattern: str
    judge: Callable[[str], str]


def _always(detector: str) -> Callable[[str], str]:
    return lambda _match: detector


def _by_crc(detector: str) -> Callable[[str], str]:
    return lambda token: detector if has_crc(token) else _LOOK_ALIKE


def has_crc(token: str) -> bool:
    """Return whether the last six characters of a token are the checksum of those between them and its prefix."""
    number, digits = zlib.crc32(token[_PREFIX:-_CRC_DIGITS].encode()), ""
    while number:
        number, digit = divmod(number, len(_BASE62))
        digits = _BASE62[digit] + digits
    return token[-_CRC_DIGITS:] == digits.rjust(_CRC_DIGITS, "0")


def has_bech32(key: str) -> bool:
    """Return whether a Bech32 string has the right checksum (BIP 173)."""
    prefix, _, data = key.lower().rpartition("1")
    values = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]
    remainder = 1
    for value in [*values, *map(_BECH32.index, data)]:
        top = remainder >> 25
        remainder = (remainder & 0x1FFFFFF) << 5 ^ value
        for bit, step in enumerate(_BECH32_STEPS):
            remainder ^= step if top >> bit & 1 else 0
    return remainder == 1


def _age(key: str) -> str:
    return "secret.age_key" if has_bech32(key) else _LOOK_ALIKE


def _jwt(token: str) -> str:
    head = token.partition(".")[0].translate(_URL_SAFE)
    try:
        header = binascii.a2b_base64(head + "=" * (-len(head) % 4))
    except binascii.Error:
        return ""
    return "secret.jwt" if header.startswith(b"{") and b'"alg"' in header else ""


def _password(url: str) -> str:
    password = url.partition("://")[2].partition(":")[2].removesuffix("@")
    return "" if _PLACEHOLDER.search(password) else "secret.url_password"


FORMATS = (
    _Format(r"-----BEGIN [A-Z0-9 ]{0,24}PRIVATE KEY(?: BLOCK)?-----", _always(_KEY_BLOCK)),
    _Format(r"gh[pousr]_[A-Za-z0-9]{36}", _by_crc("secret.github_token")),
    _Format(r"npm_[A-Za-z0-9]{36}", _by_crc("secret.npm_token")),
    _Format(r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}", _age),
    _Format(r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{0,}", _jwt),
    _Format(r"(?:\b|_)[a-z][a-z0-9+.-]{1,20}://[^\s:/@\"'<>]{1,64}:[^\s/@\"'<>]{3,}@", _password),
    _Format(
        r"(?i)(?:\b|_)authorization[\"']?[\s_]{0,8}[:=][\s_]{0,8}[\"']?(?:basic|bearer|"
        r"token)[\s_]{1,8}[A-Za-z0-9+/=._~-]{12,}",
        _always("secret.authorization"),
    ),
    _Format(
        r"(?:AKIA|ASIA)[0-9A-Z]{16}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}|"
        r"glpat-[A-Za-z0-9_-]{20}|gl(?:rt|dt|ptt|ft|soat)-[A-Za-z0-9_-]{20}"
        r"|xox[abeoprs]-[A-Za-z0-9-]{10,72}|xapp-[0-9]-[A-Z0-9]{8,16}-[0-9]{8,16}-[a-f0-9]{32,64}|"
        r"hooks\.slack\.com/services/T[A-Z0-9]{6,12}/B[A-Z0-9]{6,12}/[A-Za-z0-9]{20,32}"
        r"|[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{24,64}|AIza[A-Za-z0-9_-]{35}|"
        r"ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{28}"
        r"|(?:\b|_)sk-(?:ant-|proj-|svcacct-|admin-|or-v1-)[A-Za-z0-9_-]{20,}|(?:\b|_)sk-[A-Za-z0-9]{32,64}|"
        r"(?:\b|_)hf_[A-Za-z]{34}|(?:\b|_)gsk_[A-Za-z0-9]{48,64}|(?:\b|_)r8_[A-Za-z0-9]{37}|"
        r"(?:\b|_)pplx-[A-Za-z0-9]{40,64}|(?:\b|_)xai-[A-Za-z0-9]{60,96}"
        r"|(?:\b|_)SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}|(?:\b|_)key-[0-9a-f]{32}|"
        r"(?:\b|_)SK[0-9a-f]{32}|pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}|(?:\b|_)dop_v1_[a-f0-9]{64}|"
        r"(?:\b|_)shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"
        r"|(?:\b|_)dapi[a-f0-9]{32}|(?:\b|_)glsa_[A-Za-z0-9]{32}_[a-fA-F0-9]{8}|(?:\b|_)hv[sb]\.[A-Za-z0-9_-]{24,}|"
        r"(?:\b|_)AccountKey=[A-Za-z0-9+/]{86}==|(?:\b|_)lin_api_[A-Za-z0-9]{40}|(?:\b|_)ntn_[A-Za-z0-9]{40,56}|"
        r"(?:\b|_)sq0(?:atp|csp)-[A-Za-z0-9_-]{22,48}|(?:\b|_)EAACEdEose0cBA[A-Za-z0-9]{20,}"
        r"|(?:\b|_)ops_eyJ[A-Za-z0-9+/]{100,}|(?:\b|_)tskey-[a-z]{2,12}-[A-Za-z0-9]{8,24}-[A-Za-z0-9]{16,48}|"
        r"(?:\b|_)dckr_pat_[A-Za-z0-9_-]{27}|(?:\b|_)ATATT3[A-Za-z0-9_=-]{100,}|(?:\b|_)sbp_[a-f0-9]{40}|"
        r"(?:\b|_)v1\.0-[a-f0-9]{24}-[a-f0-9]{100,}",
        _always("secret.access_key"),
    ),
)
_ASSIGNED = re2.compile(
    r"(?i)(?:pass(?:word|wd|phrase|code)|\bpwd|\bpw|secret|token|api[_ -]?key|apikey|access[_ "
    r"-]?key|private[_ -]?key|signing[_ -]?key|encryption[_ -]?key|auth[_ -]?key|credentials?|"
    r"passwort|kennwort|contrase[nñ]a|mot de passe|senha|пароль|密码|パスワード)"
    r"[A-Za-z0-9_]{0,24}[\"'`]?(?:\s{0,4}(?::=|=>|[:=：])\s{0,4}|\s(?:is|ist|est|es|lautet|"
    r"was)\s)[\"'`]?([^\s\"'`,;<>]{6,})"
)


class CredentialScan:
    """Looks for secrets."""

    def __init__(self) -> None:
        self._union = PatternUnion([form.pattern for form in FORMATS])

    def find(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Yield (detector, start, end) of every secret."""
        for number, start, end in self._union.find(text):
            # What goes on is something longer; what only stands beside a label is whole.
            if text[end : end + 1].isalnum() and text[end - 1 : end].isalnum():
                continue
            if detector := FORMATS[number].judge(text[start:end]):
                yield detector, start, _end_of_block(text, end) if detector == _KEY_BLOCK else end
        for match in _ASSIGNED.finditer(text):
            if is_random(match.group(1)):
                yield "secret.assignment", *match.span(1)


def _end_of_block(text: str, end: int) -> int:
    """Return where a key ends that begins before ``end``; without its last line, where what may be a key ends."""
    body = _BLOCK_BODY.match(text[end : end + _LONGEST_BLOCK])
    return end + len(body.group()) if body else end


def is_random(value: str) -> bool:
    """Return whether a value is too irregular for a word, a name or a placeholder."""
    if _PLACEHOLDER.search(value):
        return False
    kinds = [any(map(kind, value)) for kind in (str.islower, str.isupper, str.isdigit, _is_sign)]
    counts = Counter(value).values()
    bits = -sum(count * log2(count / len(value)) for count in counts)
    return bits >= _LEAST_BITS and (sum(kinds) > _LEAST_KINDS or (sum(kinds) == _LEAST_KINDS and _mixes(value)))


def _mixes(value: str) -> bool:
    """Return whether two kinds of characters are mixed, and not merely one behind the other as in ``word1``."""
    turns = sum(one.isalpha() != other.isalpha() for one, other in pairwise(value))
    return turns > _LEAST_KINDS or (len(value) >= _LONG and turns > 0)


def _is_sign(character: str) -> bool:
    return not character.isalnum()
