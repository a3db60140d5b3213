"""Reads the scalars of YAML text. Events only: no objects are built, and anchors, aliases and tags end the reading."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from aisecops_server.domain.grounding.source_text import LONGEST_ITEM, Scalar

MOST_DEPTH = 64


def yaml_scalars(text: str) -> Sequence[Scalar] | None:
    """Return keys and values of one block or flow collection in document order, or nothing.

    Comments are no scalars; grounding notices what occurs in the text and not in its scalars.
    """
    found: list[Scalar] = []
    depth = documents = record = 0
    listed = False
    rows = text.split("\n")
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if getattr(event, "anchor", None) is not None or getattr(event, "tag", None) is not None:
                return None
            if isinstance(event, yaml.ScalarEvent):
                if depth == 0:
                    return None
                if _is_list_in_disguise(event, rows):
                    return None
                found.append(Scalar(record, event.value))
                record += listed and depth == 1
            elif isinstance(event, yaml.CollectionStartEvent):
                listed = isinstance(event, yaml.SequenceStartEvent) if depth == 0 else listed
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
                record += listed and depth == 1
            documents += isinstance(event, yaml.DocumentStartEvent)
            if depth > MOST_DEPTH or documents > 1:
                return None
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return found


def _is_list_in_disguise(event: yaml.ScalarEvent, rows: Sequence[str]) -> bool:
    # "Rooms: A" followed by "B" on the next line is one plain scalar to YAML and a list of lines to a reader. Prose
    # that a writer has folded is told by its first lines, which are full.
    if event.style or event.start_mark is None or event.end_mark is None:
        return False
    first, last = event.start_mark.line, event.end_mark.line
    return first < last and all(len(row.strip()) <= LONGEST_ITEM for row in rows[first : last + 1])
