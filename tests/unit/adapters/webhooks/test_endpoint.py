"""Which receivers may be set, and which addresses they may turn out to have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from aisecops_server.adapters.webhooks.endpoint import Endpoint, read_endpoint
from aisecops_server.domain.errors import InvalidRequestError

SECRET = "whsec_" + "QUJD" * 8


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "hook.secret"
    file.write_text(f"{SECRET}\n", encoding="ascii")
    file.chmod(0o600)
    return file


@pytest.mark.parametrize(
    "url",
    [
        "https://chat.example/hooks/aisecops",
        "https://93.184.216.34/hook",
        "https://[2606:2800:220:1:248:1893:25c8:1946]/hook",
        "http://127.0.0.1:8080/hook",
        "http://[::1]:8080/hook",
        "http://localhost:8080/hook",
        "https://localhost/hook",
    ],
)
def test_https_and_this_machine_are_receivers(secret: Path, url: str) -> None:
    made = read_endpoint(f"pager {url} {secret}")
    assert (made.name, made.url, made.secrets) == ("pager", url, (b"ABC" * 8,))
    assert "ABC" not in repr(made)


@pytest.mark.parametrize(
    "url",
    [
        "http://chat.example/hook",
        "http://10.0.0.7/hook",
        "ftp://chat.example/hook",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "unix:///run/docker.sock",
        "https:///hook",
        "https://user:word@chat.example/hook",
        "https://10.0.0.7/hook",
        "https://192.168.1.1/hook",
        "https://169.254.169.254/latest/meta-data/",
        "https://[fe80::1]/hook",
        "https://[::ffff:10.0.0.7]/hook",
        "https://[64:ff9b::a00:7]/hook",
        "https://0.0.0.0/hook",
        "https://100.64.0.1/hook",
        "chat.example/hook",
    ],
)
def test_everything_else_is_none(secret: Path, url: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read_endpoint(f"pager {url} {secret}")
    assert refused.value.metadata()["field"] == "webhooks"


def test_a_private_network_has_to_be_asked_for_and_gives_nothing_more(secret: Path) -> None:
    made = read_endpoint(f"pager https://10.0.0.7/hook {secret} private")
    for address in ("10.0.0.7", "192.168.1.1", "fd00::1", "93.184.216.34", "::ffff:10.0.0.7"):
        assert made.may_reach(address), address
    never = (
        "127.0.0.1",
        "::1",
        "169.254.169.254",
        "fe80::1%eth0",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "240.0.0.1",
    )
    for address in (*never, "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"):
        assert not made.may_reach(address), address
    public = replace(made, is_private=False)
    assert [address for address in ("10.0.0.7", "fd00::1", "100.64.0.1", *never) if public.may_reach(address)] == []


def test_this_machine_is_only_this_machine(secret: Path) -> None:
    made = read_endpoint(f"pager http://localhost:8080/hook {secret}")
    reached = ("127.0.0.1", "::1", "93.184.216.34", "10.0.0.7", "169.254.169.254")
    assert [made.may_reach(address) for address in reached] == [True, True, False, False, False]


@pytest.mark.parametrize(
    "text", ["", "pager", "pager https://chat.example/h", "two words https://chat.example/h {file}"]
)
def test_a_line_of_another_shape_is_refused(secret: Path, text: str) -> None:
    with pytest.raises(InvalidRequestError):
        read_endpoint(text.format(file=secret))


@pytest.mark.parametrize("extra", ["public", "private private"])
def test_only_the_one_word_may_stand_behind(secret: Path, extra: str) -> None:
    with pytest.raises(InvalidRequestError):
        read_endpoint(f"pager https://chat.example/h {secret} {extra}")


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (SECRET, 0o644),
        (SECRET, 0o620),
        ("", 0o600),
        ("secret", 0o600),
        ("whsec_", 0o600),
        ("whsec_" + "QUJD" * 7, 0o600),
        ("whsec_" + "QUJD" * 22, 0o600),
        ("whsec_not base64 at all!", 0o600),
        (SECRET.removeprefix("whsec_"), 0o600),
    ],
)
def test_a_secret_that_is_none_or_that_others_can_read_is_refused(tmp_path: Path, content: str, mode: int) -> None:
    file = tmp_path / "hook.secret"
    file.write_text(content, encoding="ascii")
    file.chmod(mode)
    with pytest.raises(InvalidRequestError) as refused:
        read_endpoint(f"pager https://chat.example/h {file}")
    assert SECRET not in str(refused.value.diagnostics())


def test_while_a_secret_is_changed_there_are_two(secret: Path) -> None:
    secret.write_text(f"whsec_{'REVG' * 8}\n{SECRET}\n", encoding="ascii")
    made: Endpoint = read_endpoint(f"pager https://chat.example/h {secret}")
    assert made.secrets == (b"DEF" * 8, b"ABC" * 8)


def test_a_missing_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError):
        read_endpoint(f"pager https://chat.example/h {tmp_path / 'nowhere'}")
