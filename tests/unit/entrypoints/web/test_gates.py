"""The small strip of a trace: drawn in few paths, and the same in words."""

from __future__ import annotations

import re

from aisecops.v1 import decision_pb2
from aisecops.v1.event_pb2 import Stage, TraceGate
from aisecops_server.domain.display.words import GATES
from aisecops_server.entrypoints.web.gates import GateStrip, gate_legend, gate_strip


def strip(**effects: decision_pb2.Effect.ValueType) -> GateStrip:
    return gate_strip(
        TraceGate(stage=Stage.Value(f"STAGE_{GATES[gate].upper()}"), effect=effect) for gate, effect in effects.items()
    )


def places(drawn: GateStrip, name: str) -> list[int]:
    path = re.search(rf'class="g-{name}" d="([^"]*)"', drawn.drawing)
    return [int(at) // 12 for at in re.findall(r"M(\d+) 0", path[1])] if path else []


def test_every_gate_has_its_place_and_one_that_was_not_reached_is_not_drawn_as_passed() -> None:
    drawn = strip(
        plan=decision_pb2.EFFECT_UNSPECIFIED,
        identity=decision_pb2.EFFECT_WARN,
        policy=decision_pb2.EFFECT_DENY,
        approval=decision_pb2.EFFECT_REQUIRE_APPROVAL,
        outcome=decision_pb2.EFFECT_DENY,
    )
    assert (places(drawn, "passed"), places(drawn, "warned")) == ([0], [1])
    assert (places(drawn, "blocked"), places(drawn, "escalated")) == ([3, 7], [6])
    assert places(drawn, "not-reached") == [2, 4, 5]
    assert drawn.words == "identity warned, policy blocked, approval escalated"


def test_what_says_nothing_is_no_strip_of_passed_gates() -> None:
    assert strip() == GateStrip(strip().drawing, "not known")
    assert not strip().drawing
    assert strip(plan=decision_pb2.EFFECT_UNSPECIFIED).words == "no gate objected"


def test_the_legend_has_every_sign() -> None:
    assert [word for _, word in gate_legend()] == ["passed", "warned", "escalated", "blocked", "not reached"]
