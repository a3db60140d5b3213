from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenes.planes.ui_scene import Scene, ui_scene


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with ui_scene() as served:
        yield served
