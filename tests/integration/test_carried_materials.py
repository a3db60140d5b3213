"""The bill of a pack says what each wheel says of itself, and nothing where it says nothing."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from aisecops_server.adapters.airgap import materials
from aisecops_server.adapters.airgap.cyclonedx import SPECIFICATION
from aisecops_server.domain.errors import InvalidRequestError
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.support import opa_binary

SAID = {
    "License-Expression: MIT": {"license": {"id": "MIT"}},
    "License-Expression: MIT AND LicenseRef-ours": {"expression": "MIT AND LicenseRef-ours"},
    "License-Expression: LicenseRef-ours": {"expression": "LicenseRef-ours"},
    "License: Apache License 2.0": {"license": {"id": "Apache-2.0"}},
    "Classifier: License :: OSI Approved :: BSD License": {"license": {"name": "BSD"}},
    "License: as you like it": {"license": {"name": "as you like it"}},
    "Summary: licensed to nobody": None,
}


def wheel(root: Path, name: str, version: str, *said: str, members: int = 1) -> Path:
    """Write a wheel that says of itself what it is told to."""
    path = root / "wheels" / f"{name}-{version}-py3-none-any.whl"
    path.parent.mkdir(exist_ok=True)
    about = "\n".join(["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *said, "", "What it is."])
    with zipfile.ZipFile(path, "w") as content:
        content.writestr(f"{name}/vendored/other-1.dist-info/METADATA", "Name: other\n")
        for number in range(members):
            content.writestr(f"{name}-{version}{'.' * number}.dist-info/METADATA", about)
    return path


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    (tmp_path / "opa").symlink_to(opa_binary())
    wheel(tmp_path, "aisecops", "0.1.0", "License-Expression: Apache-2.0")
    return tmp_path


def packages(root: Path) -> dict[str, Any]:
    written = materials.bill(root).decode()
    assert JsonStrictValidator(SchemaVersion.from_version(SPECIFICATION)).validate_str(written) is None
    return {one["purl"]: one for one in json.loads(written)["components"] if one["purl"].startswith("pkg:pypi/")}


@pytest.mark.parametrize(("said", "told"), SAID.items())
def test_the_licence_is_what_the_wheel_says_of_itself(pack: Path, said: str, told: dict[str, Any] | None) -> None:
    wheel(pack, "Some_Thing", "1.0+local.1", said)
    assert packages(pack)["pkg:pypi/some-thing@1.0%2Blocal.1"].get("licenses") == ([told] if told else None)


def test_a_module_of_the_engine_that_nobody_read_has_no_licence(pack: Path) -> None:
    content = opa_binary().read_bytes()
    (pack / "opa").unlink()
    (pack / "opa").write_bytes(content.replace(b"github.com/gobwas/glob", b"github.com/gobwas/glib"))
    components = json.loads(materials.bill(pack))["components"]
    assert [one["name"] for one in components if "licenses" not in one] == ["github.com/gobwas/glib"]


def test_what_does_not_say_what_it_is_is_not_packed(pack: Path) -> None:
    for members in (0, 2):
        broken = wheel(pack, "other", "1", members=members)
        with pytest.raises(InvalidRequestError, match=r"other-1-py3-none-any\.whl does not say what it is"):
            materials.bill(pack)
        broken.unlink()
    broken.write_text("no archive")
    with pytest.raises(InvalidRequestError, match="not a zip file"):
        materials.bill(pack)
    broken.unlink()
    assert packages(pack)
    (pack / "opa").unlink()
    (pack / "opa").write_bytes(b"\x7fELF" + bytes(100))
    with pytest.raises(InvalidRequestError, match="does not say what it was built from"):
        materials.bill(pack)
