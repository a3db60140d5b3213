"""Upper bounds on one plan and on what names its parts: a part of the contract."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """Upper bounds on one plan; sizes in bytes."""

    plan_bytes: int = 4 * 1024 * 1024
    arguments_bytes: int = 256 * 1024
    source_bytes: int = 1024 * 1024
    sources_bytes: int = 3 * 1024 * 1024
    steps: int = 64
    sources: int = 256
    history: int = 1024
    models: int = 32
    tokens: int = 1_000_000_000
    delegation: int = 16
    depth: int = 32
    identifier_characters: int = 64
    tool_characters: int = 128
    agent_characters: int = 256
    model_characters: int = 128
    text_characters: int = 4096


LIMITS = PlanLimits()
