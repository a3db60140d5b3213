"""What about a document of texts could have been otherwise: detections, parts, and a review."""

from __future__ import annotations

from collections.abc import Iterator

from aisecops_server.domain.replays.lever import Edit, Lever, LeverKind
from aisecops_server.domain.replays.levers import Scene, approval_levers

_MOST_DETECTIONS = 48


def text_levers(scene: Scene) -> list[Lever]:
    """Return the levers of a document about texts, those first that are most easily brought about."""
    found = [*approval_levers(scene, str(scene.document["hash"])), *_detections(scene), *_parts(scene)]
    return sorted(found, key=lambda lever: lever.kind.ease)


def _detections(scene: Scene) -> Iterator[Lever]:
    seen = [
        (f"/parts/{at}/detections/{number}", part["id"], detection)
        for at, part in enumerate(scene.document["parts"])
        for number, detection in enumerate(part["detections"])
    ]
    for place, part, detection in seen[:_MOST_DETECTIONS]:
        name = f"{detection['detector']} at {detection['start']} of {part}"
        yield Lever(LeverKind.DETECTION, f"there were no {name}", (Edit(place, removes=True),))
        if not detection["quoted"]:
            quoted = (Edit(f"{place}/quoted", value=True),)
            yield Lever(LeverKind.DETECTION, f"{name} stood in quotation marks", quoted)
        if detection["quoted"] or detection["discussed"]:
            plain = (Edit(f"{place}/quoted", value=False), Edit(f"{place}/discussed", value=False))
            yield Lever(LeverKind.DETECTION, f"{name} were said and not quoted", plain)


def _parts(scene: Scene) -> Iterator[Lever]:
    parts = scene.document["parts"]
    for at, part in enumerate(parts):
        if not part["complete"]:
            whole = (Edit(f"/parts/{at}/complete", value=True),)
            yield Lever(LeverKind.TEXT, f"{part['id']} could be read whole", whole)
        if part["detections"]:
            yield Lever(LeverKind.TEXT, f"nothing stood out in {part['id']}", (Edit(f"/parts/{at}/detections", []),))
        if len(parts) > 1:
            yield Lever(LeverKind.TEXT, f"{part['id']} were left out", (Edit(f"/parts/{at}", removes=True),))
