"""The seams: what use cases need from the world. Adapters implement them and raise only ``AisecopsError``s."""

from __future__ import annotations

from aisecops_server.ports.identity import Authenticator, SignInProvider, TlsSource
from aisecops_server.ports.log import EventLog, ProvenLog
from aisecops_server.ports.policy import (
    ActivationStore,
    BundleBuilder,
    EnginePool,
    PolicyEngine,
    PolicyRepository,
)
from aisecops_server.ports.recordings import RecordedTraces
from aisecops_server.ports.signing import Signer
from aisecops_server.ports.system import Clock, Ids
from aisecops_server.ports.transparency import CheckpointStore, LogKeyStore, Witness, WitnessStore

__all__ = [
    "ActivationStore",
    "Authenticator",
    "BundleBuilder",
    "CheckpointStore",
    "Clock",
    "EnginePool",
    "EventLog",
    "Ids",
    "LogKeyStore",
    "PolicyEngine",
    "PolicyRepository",
    "ProvenLog",
    "RecordedTraces",
    "SignInProvider",
    "Signer",
    "TlsSource",
    "Witness",
    "WitnessStore",
]
