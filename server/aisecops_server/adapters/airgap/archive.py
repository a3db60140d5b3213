"""The one file that is carried: wheels, engine, policy, their bill and digests, and the script that installs them."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from aisecops_server.adapters.airgap.cyclonedx import digest_of
from aisecops_server.adapters.airgap.distributions import EXTRAS, OURS, fetch_wheels, pinned
from aisecops_server.adapters.airgap.materials import bill
from aisecops_server.domain.errors import InvalidRequestError

_SUMS = "SHA256SUMS"
_BILL = "sbom.cdx.json"
_INSTALL = f"""#!/bin/sh
# Installs what lies beside it into PREFIX. Reaches nobody, and installs nothing whose digest is not in {_SUMS}.
#   sh install.sh /opt/aisecops
set -eu
prefix="${{1:?say where to: sh install.sh /opt/aisecops}}"
python="${{PYTHON:-python3}}"
case "$prefix" in /*) ;; *) prefix="$PWD/$prefix" ;; esac
cd "$(dirname "$0")"
sha256sum --quiet --strict --check {_SUMS}
if [ -e "$prefix" ] && [ -n "$(ls -A "$prefix")" ]; then echo "there is something in $prefix already" >&2; exit 1; fi
trap 'code=$?; if [ $code != 0 ]; then rm -rf "$prefix"; fi; exit $code' EXIT
"$python" -m venv "$prefix"
"$prefix/bin/pip" install --quiet --disable-pip-version-check --no-index --find-links wheels --no-deps \\
  --require-hashes --requirement requirements.txt
AISECOPS_ENGINE_DIR="$prefix/engine" "$prefix/bin/aisecops" engine install --from ./opa --quiet
if [ -d policy.git ]; then cp -R policy.git "$prefix/policy.git"; fi
echo "installed into $prefix"
echo "next: AISECOPS_ENGINE_DIR=$prefix/engine $prefix/bin/aisecops doctor"
"""

CopyPolicy = Callable[[Path], None]


def pack(file: Path, *, engine: Path, copy_policy: CopyPolicy | None) -> tuple[int, int, str]:
    """Write ``file`` (a gzipped tar) and return how many wheels it holds, its bytes, and its SHA-256.

    Raises:
        InvalidRequestError: the file is there already, or a wheel cannot be had.
    """
    if not file.absolute().parent.is_dir():
        raise InvalidRequestError(f"there is no folder {file.absolute().parent}", hint="Make it first", field="file")
    if file.exists():
        raise InvalidRequestError(f"{file} is there already", hint="Name a new one", field="file")
    with tempfile.TemporaryDirectory(prefix="aisecops-airgap-") as directory:
        root = Path(directory) / "aisecops-airgap"
        wheels = root / "wheels"
        wheels.mkdir(parents=True)
        wanted = Path(directory) / "wanted.txt"
        wanted.write_text("".join(f"{each}\n" for each in pinned()), "utf-8")
        fetch_wheels(wanted, wheels)
        found = sorted(wheels.glob("*.whl"))
        (root / "requirements.txt").write_text("".join(_line(wheel) for wheel in found), "utf-8")
        shutil.copy(engine, root / "opa")
        (root / _BILL).write_bytes(bill(root))
        if copy_policy is not None:
            copy_policy(root / "policy.git")
        (root / "install.sh").write_text(_INSTALL, "utf-8")
        (root / _SUMS).write_text(_sums(root), "utf-8")
        _write(root, file)
    return len(found), file.stat().st_size, digest_of(file)


def _line(wheel: Path) -> str:
    """Return the line that installs a wheel, by its digest; ourselves with what we are used for."""
    name, version = wheel.name.split("-")[:2]
    extras = f"[{','.join(EXTRAS)}]" if name == OURS else ""
    return f"{name}{extras}=={version} --hash=sha256:{digest_of(wheel)}\n"


def _sums(root: Path) -> str:
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    return "".join(f"{digest_of(path)}  {path.relative_to(root).as_posix()}\n" for path in paths)


def _write(root: Path, file: Path) -> None:
    """Write the archive without times and owners, durably and whole."""
    part = file.with_name(f".{file.name}.part")
    with (
        part.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=1) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(root.rglob("*")):
            tar.add(path, arcname=path.relative_to(root.parent).as_posix(), recursive=False, filter=_plain)
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.rename(file)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime, member.uid, member.gid, member.uname, member.gname = 0, 0, 0, "", ""
    member.mode = 0o755 if member.isdir() or member.name.endswith(("/opa", ".sh")) else 0o644
    return member
