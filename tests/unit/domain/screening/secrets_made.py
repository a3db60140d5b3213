"""Secrets of known formats, put together here so that no file of the tree looks like it holds one."""

from __future__ import annotations

import base64
import json
import zlib

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LETTERS = "q7Rt2Zx9Kb4Lm8Np3Vw6Yc1Hd5Gf0Sj"
HEX = "9f86d081884c7d659a2feaa0c55ad015"


def with_crc(prefix: str, body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    while number:
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return prefix + body + digits.rjust(6, "0")


def jwt() -> str:
    parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": "ada", "admin": True})
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return f"{head}.{body}.{LETTERS}"


def key_block() -> str:
    lines = "\n".join([LETTERS * 2] * 3)
    return "-----BEGIN RSA PRIV" + f"ATE KEY-----\n{lines}\n-----END RSA PRIV" + "ATE KEY-----"


# The age identity is the one that the format's specification publishes as its example.
AGE = "AGE-SECRET" + "-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33"

SECRETS = {
    "secret.github_token": with_crc("gh" + "p_", LETTERS[:30]),
    "secret.npm_token": with_crc("np" + "m_", LETTERS[1:31]),
    "secret.age_key": AGE,
    "secret.jwt": jwt(),
    "secret.private_key": key_block(),
    "secret.url_password": "postgres://app:" + "s3cr3t-Pw@",
    "secret.authorization": "Authorization: Bea" + f"rer {LETTERS}",
}
ACCESS_KEYS = (
    "AK" + "IA" + LETTERS.upper()[:16],
    "github" + "_pat_" + LETTERS[:22] + "_" + (LETTERS * 2)[:59],
    "gl" + "pat-" + LETTERS[:20],
    "xo" + "xb-" + LETTERS[:24],
    "hooks.slack.com/ser" + "vices/T" + "0A1B2C3D" + "/B" + "0A1B2C3D" + "/" + LETTERS[:24],
    "sk" + "_live_" + LETTERS[:24],
    "AI" + "za" + (LETTERS * 2)[:35],
    "s" + "k-ant-api03-" + LETTERS,
    "s" + "k-proj-" + LETTERS,
    "h" + "f_" + "aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH",
    "S" + "G." + LETTERS[:22] + "." + (LETTERS * 2)[:43],
    "py" + "pi-AgEIcHlwaS5vcmc" + LETTERS * 2,
    "do" + "p_v1_" + HEX * 2,
    "gl" + "sa_" + (LETTERS * 2)[:32] + "_1a2b3c4d",
    "Account" + "Key=" + (LETTERS * 3)[:86] + "==",
)
