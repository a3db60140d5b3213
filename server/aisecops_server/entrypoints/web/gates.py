"""The small gate strip in a line of the trace list: of each gate, the worst that a step of the trace met there.

A list draws many of them, so each is one drawing of few paths, and the same ones are drawn once.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aisecops.v1.decision_pb2 import EFFECT_UNSPECIFIED, Effect
from aisecops.v1.event_pb2 import Stage, TraceGate
from markupsafe import Markup

from aisecops_server.domain.display.words import (
    ALLOWED,
    BLOCKED,
    ESCALATED,
    GATES,
    NOT_REACHED,
    WARNED,
    Sign,
    bare,
    effect_sign,
)
from aisecops_server.entrypoints.web.markup import drawing

_CELL, _HEIGHT = 12, 14
# How a cell of each sign is drawn, told by its shape as much as by its colour; anything else is drawn as blocked.
_SHAPES: Mapping[Sign, tuple[str, str]] = {
    ALLOWED: ("passed", "m1.500 1.500h7v11h-7z"),
    WARNED: ("warned", "m1 7h8v6h-8z"),
    ESCALATED: ("escalated", "m5 1l5 12h-10z"),
    BLOCKED: ("blocked", "m0 1h8.500l-8.500 10zm10 2v10h-8.500z"),
    NOT_REACHED: ("not-reached", "m4 6h2v2h-2z"),
}


@dataclass(frozen=True, slots=True)
class GateStrip:
    """One strip: as a drawing, and in words what objected."""

    drawing: Markup
    words: str


def gate_strip(gates: Iterable[TraceGate]) -> GateStrip:
    """Return the strip of a trace."""
    return _strip(tuple((gate.stage, gate.effect) for gate in gates))


def gate_legend() -> list[tuple[Markup, str]]:
    """Return each sign of a strip, drawn and in its word."""
    words = {ALLOWED: "passed"}
    return [(_drawn([sign]), words.get(sign, sign.word)) for sign in _SHAPES]


@functools.lru_cache(1024)
def _strip(gates: tuple[tuple[Stage.ValueType, Effect.ValueType], ...]) -> GateStrip:
    if not gates:
        return GateStrip(drawing([]), "not known")
    met = {bare(Stage.Name(stage)).lower(): _sign(effect) for stage, effect in gates}
    signs = {gate: met.get(stage, NOT_REACHED) for gate, stage in GATES.items()}
    objected = [
        f"{gate} {sign.word}"
        for gate, sign in signs.items()
        if gate != "outcome" and sign not in (ALLOWED, NOT_REACHED)
    ]
    return GateStrip(_drawn([*signs.values()]), ", ".join(objected) or "no gate objected")


def _sign(effect: Effect.ValueType) -> Sign:
    return ALLOWED if effect == EFFECT_UNSPECIFIED else effect_sign(Effect.Name(effect))


def _drawn(signs: list[Sign]) -> Markup:
    paths: dict[str, list[str]] = {}
    for at, sign in enumerate(signs):
        name, shape = _SHAPES.get(sign, _SHAPES[BLOCKED])
        paths.setdefault(name, []).append(f"M{at * _CELL} 0{shape}")
    width = _CELL * len(signs)
    box = f'viewBox="0 0 {width} {_HEIGHT}" width="{width}" height="{_HEIGHT}"'
    drawn = "".join(f'<path class="g-{name}" d="{"".join(path)}"/>' for name, path in paths.items())
    return drawing([f'<svg class="gates" {box} aria-hidden="true">{drawn}</svg>'])
