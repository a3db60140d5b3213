"""What a detector saw: where in the text, which detector, and under which disguise."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DetectionKind(StrEnum):
    """What a detection is about; the first half of a detector's name."""

    INJECTION = "injection"
    SECRET = "secret"  # noqa: S105 - the kind, not one of them
    PERSONAL = "personal"
    HIDDEN = "hidden"


PRIVATE_KINDS = frozenset({DetectionKind.SECRET, DetectionKind.PERSONAL})


class Disguise(StrEnum):
    """What had to be undone before a detector could see it."""

    NONE = ""
    LETTERS = "letters"
    ESCAPES = "escapes"
    BASE64 = "base64"
    HEX = "hex"
    INVISIBLE = "invisible"


# Every detector with what it looks for. A detector's kind is the word before the dot.
DETECTORS: dict[str, str] = {
    "injection.override": "instructions to ignore or replace earlier instructions, in many languages",
    "injection.persona": "role play that is to free the model from its rules",
    "injection.authority": "text that poses as the system, the developer or the end of the prompt",
    "injection.prompt_leak": "instructions to reveal the system prompt",
    "injection.exfiltration": "instructions to send secrets or the conversation somewhere",
    "injection.exfiltration_link": "an image or link that carries data to its host when it is shown",
    "injection.concealment": "instructions to keep something from the user",
    "injection.addressed": "text that addresses AI systems which happen to read it",
    "injection.chat_template": "tokens that separate the turns of a conversation for a model",
    "injection.tool_call": "text in the form of a call of a tool or of its result",
    "secret.private_key": "a private key block",
    "secret.github_token": "a GitHub token whose checksum is right",
    "secret.npm_token": "an npm token whose checksum is right",
    "secret.age_key": "an age identity whose checksum is right",
    "secret.token_lookalike": "the form of such a token or key with a wrong checksum",
    "secret.access_key": "a key in a format that its issuer made to be recognised",
    "secret.jwt": "a JSON Web Token whose header can be read",
    "secret.url_password": "a password in a URL",
    "secret.authorization": "an HTTP authorization header",
    "secret.assignment": "a value with the entropy of a secret, given to a name of one",
    "personal.email": "an e-mail address",
    "personal.phone": "a phone number in international form",
    "personal.iban": "an IBAN whose checksum is right",
    "personal.payment_card": "a payment card number whose checksum is right",
    "personal.us_ssn": "a US social security number of a shape that is issued",
    "personal.ip_address": "an IP address of the public internet",
    "hidden.zero_width": "characters without width between others",
    "hidden.bidi": "controls that reorder what is shown",
    "hidden.tags": "invisible characters that spell text",
    "hidden.control": "control characters, such as a terminal's escape",
    "hidden.homoglyph": "letters of another script inside a word that they imitate",
    "hidden.nested_encoding": "text that is encoded more than once",
}


@dataclass(frozen=True, slots=True, order=True)
class Detection:
    """One thing that a detector saw at ``[start, end)`` of the text, counted in characters.

    ``quoted``: it stands in quotation marks, a quotation or code. ``discussed``: the words around it talk about it
    rather than say it. ``excerpt`` is what was read there, empty for secrets and personal data.
    """

    start: int
    end: int
    detector: str
    disguise: Disguise = Disguise.NONE
    quoted: bool = False
    discussed: bool = False
    excerpt: str = ""

    @property
    def kind(self) -> DetectionKind:
        """Return what the detection is about."""
        return DetectionKind(self.detector.partition(".")[0])
