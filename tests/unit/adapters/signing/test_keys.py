"""Keys in files: made once, kept secret, never replaced."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from aisecops_server.adapters.signing.key_files import KeyFiles
from aisecops_server.adapters.signing.keys import open_key
from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.log.key_rotation import KeyUse
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


def test_a_key_is_made_on_first_use_for_its_owner_only_and_kept(tmp_path):
    directory = tmp_path / "keys"
    first = open_key(directory, "bundle")
    again = open_key(directory, "bundle")
    assert again.public_pem == first.public_pem
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    [file] = directory.iterdir()
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == ("bundle.pem", 0o600)


def test_a_signature_verifies_by_its_key_and_message_only(tmp_path):
    key, other = open_key(tmp_path, "one"), open_key(tmp_path, "two")
    signature = key.sign(b"message")
    assert key.verifies(b"message", signature)
    assert not key.verifies(b"massage", signature)
    assert not other.verifies(b"message", signature)
    assert not key.verifies(b"message", b"")


def test_of_many_makers_at_once_all_get_the_same_key(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        found = {key.public_pem for key in threads.map(lambda _: open_key(tmp_path, "bundle"), range(8))}
    assert len(found) == 1


def test_a_draft_that_a_crash_left_behind_is_destroyed_with_its_key(tmp_path):
    files = KeyFiles(tmp_path, KeyUse.GRANT)
    files.first()
    # The maker links its draft to the key's name and ends before it takes the draft's own name away.
    (tmp_path / ".grants.pem.x1y2").hardlink_to(tmp_path / "grants.pem")
    later = files.following(0)
    (tmp_path / ".grants.1.pem.x1y2").hardlink_to(tmp_path / "grants.1.pem")
    files.destroy_before(1)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".grants.1.pem.x1y2", "grants.1.pem"]
    assert files.current(1, later.public_raw).public_pem == later.public_pem


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_can_read_is_refused(tmp_path, mode):
    open_key(tmp_path, "bundle")
    (tmp_path / "bundle.pem").chmod(mode)
    with pytest.raises(IntegrityError, match="read by others"):
        open_key(tmp_path, "bundle")


def test_a_file_that_is_no_key_is_refused_and_left_alone(tmp_path):
    file = tmp_path / "bundle.pem"
    file.write_bytes(b"not a key")
    file.chmod(0o600)
    with pytest.raises(IntegrityError, match="not a private key"):
        open_key(tmp_path, "bundle")
    assert file.read_bytes() == b"not a key"


def test_a_key_of_another_kind_is_refused(tmp_path):
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "bundle.pem"
    file.write_bytes(pem)
    file.chmod(0o600)
    with pytest.raises(IntegrityError, match="Ed25519"):
        open_key(tmp_path, "bundle")


def test_a_directory_that_cannot_be_made_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(IntegrityError, match=r"bundle\.pem"):
        open_key(tmp_path / "keys", "bundle")
