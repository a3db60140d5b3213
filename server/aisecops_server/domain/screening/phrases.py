"""English sentences that try to steer a model, as patterns over words, and markup that poses as its own.

Words are lower case with single characters of space for everything else; markup is matched on the visible text. Every
repetition is bounded, so that a match is short and a search stays linear.
"""

# ruff: noqa: RUF001 - letters that look like others are what this is about
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import re2

from aisecops_server.domain.screening.pattern_union import PatternUnion


@dataclass(frozen=True, slots=True)
class Phrase:
    """What one detector looks for. What ``unless`` matches inside of a match is not meant."""

    detector: str
    pattern: str
    unless: str = ""


def _any(*words: str) -> str:
    return f"(?:{'|'.join(words)})"


def _up_to(count: int) -> str:
    """Return a pattern for at most so many words in between."""
    return rf"(?: +[^ ]+){{0,{count}}}? +"


_DROP = _any(
    "ignore|ignoring|disregard|disregarding|forget|override|overrule|bypass|circumvent|neglect|abandon|discard",
    r"do +not +(?:follow|obey|comply +with|adhere +to|listen +to)|don +t +(?:follow|obey|listen +to)",
    r"stop +(?:following|obeying)|pay +no +attention +to|set +aside|no +longer +(?:follow|obey)|never +mind",
)
_EARLIER = _any(
    "previous|previously|prior|earlier|above|preceding|foregoing|former|existing|original|initial|system|developer",
    r"safety|hidden|past|last|current|other|so +far|before|given|default|built +in|programmed",
)
_ORDERS = _any(
    "instructions?|instruction +set|directions|directives?|prompts?|rules?|rulesets?|guidelines?|guidance|commands?",
    "constraints?|restrictions?|programming|training|guardrails?|safeguards?|protocols?|briefing|conditioning",
)
_SHOW = _any(
    "reveal|show|print|output|repeat|display|leak|disclose|expose|dump|share|recite|echo|paste|spell(?: +out)?|extract",
)
_TELL = _any(
    "tell|give|write|return|provide|state|translate|summari[sz]e|paraphrase|encode|describe|list|quote|type|copy|read",
    "say|explain|outline|detail|what +(?:is|are|were|was)|what +s|which +are",
)
_OWN_TEXT = _any(
    r"system +(?:prompts?|messages?|instructions?|configuration)|(?:initial|original|hidden|"
    r"secret|internal|developer|starting|confidential)"
    r" +(?:system +)?(?:prompts?|instructions?|messages?|rules|guidelines|directives)|meta +prompts?",
)
_PRIVATE = _any(
    "passwords?|passwd|credentials?|secrets?|api +keys?|apikeys?|access +(?:tokens?|keys?)|"
    "auth(?:entication)? +tokens?|private +keys?",
    "ssh +keys?|session +(?:tokens?|cookies?)|cookies|chat +history|conversation(?: +history)?|"
    "system +prompt|environment +variables|env +(?:vars?|file)",
    "credit +cards?|card +numbers?|social +security|customer +(?:data|list|records?)|user +data|"
    "personal +data|database +dump|etc +passwd",
)
_FREE = _any(
    "dan|unrestricted|unfiltered|uncensored|unlimited|unbound|unhinged|jailbroken|jailbreak|"
    "amoral|evil|malicious|lawless|limitless",
    r"(?:in +)?developer +mode|(?:in +)?god +mode|(?:in +)?debug +mode|free +(?:from|of)|"
    r"liberated|no +longer +(?:bound|restricted|limited|an? +ai)",
)
_MACHINE = (
    r"(?:ai|llm|gpt|chatgpt|claude|gemini|copilot|grok|llama|language +models?|large +language "
    r"+models?|chatbots?|bots?)"
)

_RULES_OF_CODE = (
    r"\b(?:css|lint|linter|linting|eslint|firewall|iptables|stylesheet|parent|gitignore|robots|grammar|compiler)\b"
)

_MORALS = (
    r"(?:restrictions?|rules|filters?|limits|limitations?|guidelines|ethics|ethical|morals?|guardrails?|constraints?"
    r"|censorship|safety|boundaries|polic(?:y|ies))"
)

SPOKEN = (
    Phrase(
        "injection.override",
        rf"\b{_DROP} +(?:all +(?:of +)?)?(?:of +)?(?:the +|everything +|that +)?(?:above|preceding|foregoing)"
        r"(?: {2,}| +(?:and|then|but|instead|now)\b| *$)",
    ),
    Phrase(
        "injection.override",
        r"\b(?:ignore|ignoring|disregard|disregarding|forget|abandon)"
        rf"{_up_to(2)}(?:{_EARLIER}|user|user +s|users|human)(?: +[^ ]+){{0,2}}? +"
        r"(?:requests?|tasks?|quer(?:y|ies)|questions?|objectives?|goals?|parameters|prompting)\b",
        unless=r"\b(?:my|our|me)\b",
    ),
    Phrase(
        "injection.override",
        r"\b(?:decode|decrypt|decipher|unscramble|rot13|de +obfuscate)(?: +[^ ]+){0,6}? +(?:and|then)(?: +then)? +"
        r"(?:follow|execute|run|obey|do|comply|perform|carry +out|act +on)\b",
    ),
    Phrase(
        "injection.override",
        r"\bbefore +(?:you +)?(?:reply|replying|respond|responding|answer|answering|summari[sz]e|summari[sz]ing)"
        r"(?: +[^ ]+){0,4}? +(?:first +|please +|always +|you +must +)?(?:call|send|post|invoke|"
        r"execute|email|forward)\b",
    ),
    Phrase(
        "injection.persona",
        rf"\b(?:disable|turn +off|deactivate|switch +off|lift|drop|bypass|remove|suspend)(?: +[^ ]+){{0,2}}? +"
        rf"(?:your(?: +[^ ]+){{0,2}}? +{_MORALS}|(?:safety|content|ethical|moderation) +(?:systems?|measures|protocols?"
        r"|filters?|guardrails?|restrictions?|checks|features))\b",
    ),
    Phrase(
        "injection.persona",
        rf"\b(?:where|in +which|imagine|suppose)(?: +[^ ]+){{0,4}}? +(?:ais?|you|models?|llms?|assistants?)"
        rf"(?: +[^ ]+){{0,2}}? +no +(?:[^ ]+ +)?{_MORALS}\b",
    ),
    Phrase(
        "injection.persona",
        r"\b(?:comply|complying) +with +(?:any|all|every|user|my)(?: +user)? +requests?(?: +[^ ]+){0,2}? +"
        r"(?:without|no +matter|from +now|regardless)\b",
    ),
    Phrase(
        "injection.authority",
        r"\bthe +(?:user|human|owner|operator)(?: +has| +have)?(?: +already)? +(?:pre +)?(?:approved|authori[sz]ed"
        r"|consented +to|given +(?:permission|consent|approval))(?: +[^ ]+)? +(?:this|these|it|"
        r"the +(?:action|step|transfer|request))\b",
    ),
    Phrase("injection.override", rf"\b{_DROP}{_up_to(4)}{_EARLIER}{_up_to(2)}{_ORDERS}\b", unless=_RULES_OF_CODE),
    Phrase(
        "injection.override",
        rf"\b{_DROP}{_up_to(3)}{_ORDERS}{_up_to(3)}(?:above|before|earlier|previously|so +far|until "
        rf"+now|up +to +now)\b",
    ),
    Phrase(
        "injection.override",
        rf"\b{_DROP}(?: +(?:all|any|every|each))?(?: +of)? +(?:your|thy|ur|all +your|all) +(?:[^ ]+ "
        rf"+)?{_ORDERS}\b",
    ),
    Phrase(
        "injection.override",
        rf"\b{_DROP}{_up_to(1)}(?:everything|anything|all|whatever|what){_up_to(3)}"
        r"(?:above|before|previously|earlier|told|instructed|taught|programmed|said +(?:before|earlier|above))\b",
    ),
    Phrase(
        "injection.override",
        r"\bnew +(?:instructions?|directives?|orders|task|objective|goal)(?: +[^ ]+){0,3}? "
        r"+(?:override|supersede|replace|take +precedence)s?\b",
    ),
    Phrase(
        "injection.override",
        r"\byour +(?:new|real|true|actual|only|updated) +(?:instructions?|task|job|goal|objective|"
        r"mission|purpose|directive|role|assignment) +(?:is|are|will +be|now)\b",
    ),
    Phrase(
        "injection.override",
        r"\b(?:instead|now)(?: +of +(?:that|this|the +above|answering|summari[sz]ing))? +(?:do|"
        r"execute|perform|follow)(?: +only)? +(?:these|this|the +following|my)(?: +new)? "
        r"+(?:instructions?|commands?|orders?|steps?)\b",
    ),
    Phrase(
        "injection.persona",
        rf"\b(?:you +are|you +re|you +will +be|become|be|act +as|behave +as|respond +as|answer +as|"
        rf"roleplay +as|role +play +as|simulate|emulate|impersonate)(?: +[^ ]+){{0,4}}? +{_FREE}\b",
        unless=r"\b(?:not|never|stay|malicious +(?:software|code|actor|insider|file)|be +free|unlimited "
        r"+(?:pto|data|plan|storage)|feel +free)\b",
    ),
    Phrase(
        "injection.persona",
        r"\b(?:pretend|imagine|assume|act|behave|respond|answer|operate|speak|role +play|roleplay)(?: "
        r"+[^ ]+){0,5}? +(?:without +(?:any +)?|no +|have +no +|free +(?:of|from) +(?:all +|any +)?|"
        r"ignoring +)(?:[^ ]+ +)?(?:restrictions?|rules|filters?|limits|limitations?|guidelines|"
        r"ethics|ethical|morals?|guardrails?|censorship|safety|boundaries|policies)\b",
    ),
    Phrase(
        "injection.persona",
        r"\byou(?: +[^ ]+){0,3}? +(?:no +longer +(?:have|need|bound|restricted|limited)|do +not +have|"
        r"don +t +have|have +no|are +free +(?:of|from)|are +not +bound +by|aren +t +bound +by)(?: +[^ "
        r"]+){0,3}? +(?:restrictions?|rules|filters?|limits|limitations?|guidelines|ethics|"
        r"guardrails?|constraints?|censorship|policies|policy)\b",
    ),
    Phrase(
        "injection.persona",
        r"\b(?:do +anything +now|developer +mode +(?:enabled|activated|on|output)|jailbreak +mode|dan "
        r"+mode|god +mode +(?:enabled|activated|on)|(?:enable|activate|enter|switch +to|engage)(?: "
        r"+[^ ]+){0,2}? +(?:developer|god|dan|jailbreak|unrestricted|admin|sudo|root|debug|"
        r"maintenance) +mode|always +intelligent +and +machiavellian|stay +in +character +at +all "
        r"+times)\b",
    ),
    Phrase(
        "injection.persona",
        rf"\bfrom +now +on(?: +[^ ]+){{0,2}}? +you(?: +[^ ]+){{0,4}}? +(?:obey|{_FREE}|ignore|only "
        rf"+(?:answer|respond|do|follow) +(?:to +)?(?:me|my))\b",
    ),
    Phrase(
        "injection.authority",
        r"\b(?:system|admin|administrator|developer|root|maintenance|emergency|security|debug|kernel|"
        r"operator) +(?:override|overide|command|directive)(?: +[^ ]+)? +(?:code|activated|enabled|"
        r"mode|engaged|accepted|initiated|authori[sz]ed|follows|ignore|you +must)\b",
    ),
    Phrase(
        "injection.authority",
        r"\bi +(?:am|m)(?: +[^ ]+){0,2}? +your +(?:developer|creator|programmer|administrator|admin|"
        r"maker|owner|engineer|operator|master)\b",
    ),
    Phrase(
        "injection.authority",
        r"\b(?:this +is|i +am|i +m|message|directive|instructions?|notice|update|order|command) "
        r"+(?:an? +|the +)?(?:official +|urgent +|important +|internal +|employee +)?(?:message +|"
        r"instructions? +|directive +|notice +|update +|order +)?(?:from|of|by|at)(?: +the| +your)? "
        r"+(?:openai|anthropic|google +deepmind|deepmind|meta +ai|mistral +ai|system "
        r"+(?:administrator|admin|owner|operator|developer)s?|ai +(?:provider|vendor|developers?|"
        r"safety +team)|model +(?:provider|developers?)|developers? +of +this +(?:model|ai|"
        r"assistant))\b",
    ),
    Phrase(
        "injection.authority",
        r"\b(?:end|start|beginning|begin)(?: +of)?(?: +the)? +(?:system|hidden|secret|initial|real|"
        r"actual) +(?:prompts?|instructions?|messages?|context)\b",
    ),
    Phrase(
        "injection.authority",
        r"\b(?:end|close)(?: +of)?(?: +the)? +(?:user|external|untrusted|retrieved) +(?:prompt|input|"
        r"message|query|request|content|data|document)(?: +[^ ]+){0,3}? +(?:system|new|begin|start|"
        r"now|instructions?|assistant)\b",
    ),
    Phrase(
        "injection.prompt_leak",
        rf"\b{_SHOW}(?: +[^ ]+){{0,5}}? +(?:(?:the|this|that|your|ur|its|all|any|these) "
        rf"+)?{_OWN_TEXT}\b",
        unless=r"\b(?:an?|how|our) +(?:[^ ]+ +){0,2}?(?:system|initial|developer)",
    ),
    Phrase(
        "injection.prompt_leak",
        rf"\b{_TELL}(?: +[^ ]+){{0,4}}? +(?:your|ur|thy|you +(?:have|got))(?: +[^ ]+){{0,2}}? "
        rf"+{_OWN_TEXT}\b",
    ),
    Phrase(
        "injection.prompt_leak",
        r"\b(?:reveal|print|output|repeat|display|leak|disclose|expose|dump|recite|echo|paste|"
        r"spell)(?: +out)?(?: +[^ ]+){0,2}? +(?:your|ur)(?: +[^ ]+){0,2}? +(?:prompts?|instructions|"
        r"programming|configuration|guidelines|rules)\b",
    ),
    Phrase(
        "injection.prompt_leak",
        r"\b(?:what|which)(?: +[^ ]+){0,3}? +(?:instructions?|prompts?|rules)(?: +[^ ]+){0,2}? "
        r"+(?:were +you|you +were|have +you +been|you +have +been|did +you)(?: +[^ ]+)? +(?:given|"
        r"told|start|receive|received|programmed)\b",
    ),
    Phrase(
        "injection.prompt_leak",
        r"\b(?:repeat|print|output|write|copy|recite|echo|return|say)(?: +[^ ]+){0,3}? +(?:everything|"
        r"all|text|words|content|sentences?|lines?|instructions?|what +is +written)(?: +[^ ]+){0,2}? "
        r"+(?:above|before +this|preceding|prior +to +this)\b",
    ),
    Phrase(
        "injection.exfiltration",
        rf"\b(?:send|post|upload|forward|email|e +mail|transmit|exfiltrate|leak|submit|deliver|"
        rf"append|include|embed|encode|attach|insert|put|place|smuggle)(?: +[^ ]+){{0,6}}? "
        rf"+{_PRIVATE}(?: +[^ ]+){{0,8}}? +"
        r"(?:https?|www|ftp|webhook|urls?|link|query|external|attacker|ngrok|pastebin|requestbin|server|endpoint)\b",
        unless=r"\b(?:reset|policy|policies|rotation|manager)\b",
    ),
    Phrase(
        "injection.concealment",
        r"\b(?:do +not|don +t|never|without|avoid)(?: +[^ ]+)? +(?:tell|telling|inform|informing|"
        r"mention|mentioning|alert|alerting|notify|notifying|let|letting|disclose|"
        r"disclosing)(?: +[^ ]+){0,4}? +(?:the +user|the +human|users|the +operator|the +customer|the "
        r"+owner|anyone +about +(?:this|these) +(?:instructions?|message|prompt))\b",
    ),
    Phrase(
        "injection.concealment",
        r"\b(?:keep|hide|conceal)(?: +[^ ]+){0,4}? +(?:secret|hidden|confidential|concealed)? "
        r"*(?:from +(?:the +)?(?:user|human|operator))\b",
    ),
    Phrase(
        "injection.addressed",
        rf"\b(?:attention|note|notice|message|memo|warning|important|hey|dear|hello|hi|hint|reminder|"
        rf"instructions?)(?: +(?:to|for))?(?: +(?:all|any|the|our|every|you|my|fellow))? "
        rf"+(?:{_MACHINE}(?: +(?:assistants?|agents?|models?|bots?|systems?|crawlers?|reviewers?|"
        rf"reading|processing|scanning|summari[sz]ing)){{1,3}}|(?:llms?|language +models?|chatgpt|"
        rf"claude|gemini|copilot))\b",
    ),
    Phrase(
        "injection.addressed",
        rf"\bif +you(?: +are|r|re)(?: +an?| +the)?(?: +[^ ]+)? +(?:{_MACHINE}|automated +(?:agent|"
        rf"assistant|system)|ai +(?:assistant|agent|model)|assistant|virtual +assistant)\b",
        unless=r"\b(?:using|building|training|developing|new +to|running)\b",
    ),
    Phrase(
        "injection.addressed",
        rf"\b{_MACHINE}(?: +(?:assistants?|agents?|models?|systems?))?(?: +[^ ]+){{0,2}}? +reading "
        rf"+this\b",
    ),
)

MARKUP = (
    Phrase("injection.chat_template", r"<[|｜] ?[A-Za-z_▁][A-Za-z0-9_▁ ]{1,40}[|｜]>"),
    Phrase(
        "injection.chat_template", r"\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]|<</?SYS>>"
    ),
    Phrase(
        "injection.chat_template",
        r"(?i)<(?:start|end)_of_turn>|<(?:bos|eos)>|</?(?:system|system[-_ ]?(?:prompt|message|"
        r"reminder|instructions?|override)|developer[-_ ]?(?:message|prompt))>",
    ),
    Phrase(
        "injection.chat_template",
        r"(?i)(?:^|\n) {0,3}#{2,4} {0,2}(?:system|instruction|human|assistant)(?: prompt| message)? {0,2}:",
    ),
    Phrase("injection.chat_template", r"\n\n(?:Human|H): "),
    Phrase("injection.chat_template", r"(?i)\{\{ ?[#~]?(?:system|user|assistant) ?~?\}\}"),
    Phrase(
        "injection.authority",
        r"(?i)(?:^|[\n\].>]) {0,4}[\[(<*#=\- ]{0,6}(?:system|developer|admin(?:istrator)?|agent|root)"
        r"(?: (?:message|prompt|override|notice|note|alert|instructions?|command|directive|update))?"
        r"(?:[\])>*=\- ]{0,6}:|\]|[)>*=\- ]{1,6}\]?) {0,4}(?:you |ignore|the assistant|assistant|from now|override"
        r"|disregard|forget|user |all |please |execute|run |send |call |reveal|output |respond|reply|always |never "
        r"|new (?:rule|task|instruction|policy|directive)|the (?:prior|previous) )",
    ),
    Phrase(
        "injection.authority",
        r"(?i)[\[<(](?:system|admin|developer|agent|assistant|ai)[ _-](?:override|directive|"
        r"instruction|prompt|command)s?\b",
    ),
    Phrase(
        "injection.authority",
        r"(?i)\b(?:new|updated|revised) (?:rule|task|instruction|directive)s?\s{0,2}(?:-{2,4}|:)\s{0,4}"
        r"(?:always say|never|reply|respond|output|ignore|say |comply|obey|you (?:are|will) now|you must always)",
    ),
    Phrase(
        "injection.tool_call",
        r"(?i)</?(?:tool_calls?|tool_responses?|tool_results?|tool_use|tool_code|function_calls?|"
        r"function_results?|function_response|invoke|antml:[a-z_]{1,24}|use_mcp_tool)(?: "
        r"[^<>\n]{0,200})?>",
    ),
    Phrase("injection.tool_call", r'(?i)"(?:tool_calls|function_call|tool_use)" {0,8}: {0,8}[\[{]'),
    Phrase(
        "injection.tool_call",
        r'(?i)\{\s{0,16}"(?:name|tool|tool_name|function|action|recipient_name)"\s{0,8}:\s{0,8}"[\w./:-]{1,80}"\s{0,8},\s{0,16}"(?:arguments|parameters|args|input|tool_input|action_input)"\s{0,8}:',
    ),
    Phrase(
        "injection.tool_call",
        r'(?i)"type"\s{0,8}:\s{0,8}"(?:tool_use|tool_result|function_call|tool_call|'
        r'function_call_output)"',
    ),
    Phrase("injection.tool_call", r"(?i)(?:^|\n) {0,8}action {0,4}: {0,4}\S[^\n]{0,80}\n {0,8}action[ _]input {0,4}:"),
    Phrase(
        "injection.exfiltration_link",
        r"(?i)!\[[^\]\n]{0,120}\]\(\s{0,4}https?://[^\s)]{1,200}[?&#/=][^\s)]{0,200}(?:\{|%7b|<|\$\(|\[)[^)\n]{0,120}\)",
    ),
    Phrase(
        "injection.exfiltration_link",
        r"(?i)(?:!\[[^\]\n]{0,120}\]\(\s{0,4}|"
        r"<img[^<>]{1,80}src\s{0,2}=\s{0,2}[\"']?)https?://[^\s)\"'>]{1,200}[?&]"
        r"(?:[A-Za-z0-9_.-]{1,40}=[A-Za-z0-9+/=_%-]{48}|(?:data|secrets?|tokens?|leak|exfil|conversation|chat|history"
        r"|payload|prompt|creds?|password|session|cookies?)=[^\s&)\"'>])",
    ),
    Phrase(
        "injection.exfiltration",
        r"(?i)\b(?:send|post|upload|forward|e-?mail|transmit|exfiltrate|leak|submit|"
        r"deliver)\b[^\n]{0,80}?\b(?:passwords?|credentials?|secrets?|api[ _-]?keys?|access[ "
        r"_-](?:tokens?|keys?)|private[ _-]keys?|ssh[ _-]keys?|cookies|chat history|conversation|"
        r"system prompt|environment variables|credit cards?|card numbers?|social security|"
        r"customer (?:data|list|records?)|user data|personal data|id_rsa|\.env|"
        r"/etc/passwd)\b[^\n]{0,80}?"
        r"(?:https?://|[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}\.[A-Za-z]{2})",
        unless=r"(?i)\b(?:reset|policy|policies|rotation|manager)\b",
    ),
)


class PhraseScan:
    """Looks for phrases."""

    def __init__(self, phrases: tuple[Phrase, ...]) -> None:
        self._phrases = phrases
        self._union = PatternUnion([phrase.pattern for phrase in phrases])
        self._unless = [re2.compile(phrase.unless) for phrase in phrases]

    def find(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Yield (detector, start, end) of everything that is meant."""
        for number, start, end in self._union.find(text):
            phrase = self._phrases[number]
            if not (phrase.unless and self._unless[number].search(text[start:end])):
                yield phrase.detector, start, end
