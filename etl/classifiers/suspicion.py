"""Finds texts that speak to a machine rather than to a maintainer, and answers that follow them. Pure.

A table of rules, cheap and deliberately eager: a suspicious text loses nothing but its place in a pack; it is asked
about alone, where the worst it can reach is a wrong category for itself. So a rule may be wrong about a text in a
hundred, and a text that no rule finds is no harm yet: its answers are looked at too (`etl.classifiers.doubts`).

Time is linear in the text's length, also for hostile ones: every repeat has an upper bound or stands alone behind a
look-behind that forbids a start inside a run. Rules see the text folded: compatible forms brought together, invisible
characters taken out, lower case, so that full-width letters or a zero-width space hide no word.
"""

import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SuspicionRule:
    """One sign. needles: lower-case strings of which a text must contain one for the pattern to be tried at all."""

    name: str
    needles: tuple[str, ...]
    pattern: re.Pattern[str]


def _rule(name: str, needles: str, *patterns: str) -> SuspicionRule:
    return SuspicionRule(name, tuple(needles.split("|")), re.compile("|".join(patterns), re.MULTILINE))


_FEW_WORDS = r"(?:\s{1,3}[\w'\u2019-]{1,20}){0,4}\s{1,3}"
_ORDERS = r"(?:instruction|prompt|directive|guideline|command)s?\b"
_QUOTE = r"[\"'\\`]{1,4}"
_IS = r"\s{0,9}:"
_READERS = (
    r"(?:ai|llm|language model|automated|automatic|issue|triage|machine)(?:[ -](?:classifier|model|agent|assistant|bot"
    r"|triage|triager|reader|system|labell?er)s?)?"
)
_THINGS = r"(?:issues?|items?|texts?|entr(?:y|ies)|tickets?|reports?|everything|them|neighbou?rs?|this|it)"

RULES: tuple[SuspicionRule, ...] = (
    _rule(
        "override",
        "ignor|disregard|forget|overrid|bypass|follow",
        r"\b(?:ignor(?:e|ing)|disregard(?:ing)?|forget|overrid(?:e|ing)|bypass)" + _FEW_WORDS + _ORDERS,
        r"\b(?:do not|don'?t|never|stop) (?:follow|obey)(?:ing)?" + _FEW_WORDS + _ORDERS,
    ),
    _rule(
        "override",
        "previous |prior |above |earlier |your |new system",
        r"\b(?:previous|prior|the above|earlier|your (?:new|real|actual|only)|new system) (?:system )?"
        r"(?:instructions|prompts?|directives|orders|task is|rules are)\b",
    ),
    _rule(
        "override",
        "ignor|\u5ffd\u7565|\u65e0\u89c6|\u7121\u8996|\u0438\u0433\u043d\u043e\u0440|\u0437\u0430\u0431\u0443\u0434\u044c",
        r"\bignor(?:iere?n?|ez|a|e|ar)\b[^\n]{0,30}\b(?:anweisungen|instrucciones|instru[c\u00e7][o\u00f5]es|istruzioni"
        r"|consignes|instructions)\b",
        "(?:\u5ffd\u7565|\u65e0\u89c6|\u7121\u8996)[^\n]{0,12}(?:\u6307\u4ee4|\u6307\u793a|\u63d0\u793a)",
        "(?:\u0438\u0433\u043d\u043e\u0440|\u0437\u0430\u0431\u0443\u0434\u044c)[^\n]{0,40}\u0438\u043d\u0441\u0442\u0440\u0443\u043a\u0446",
    ),
    _rule(
        "role",
        "<|[inst|[/inst|<<sys|<</sys|[system|[assistant|##",
        r"<\|[a-z_]{2,20}\|>|\[/?inst\]|<</?sys>>|^\[(?:system|assistant)\]",
        r"^#{1,6} ?(?:system|assistant|instruction)(?: prompt| message|s)?:?[ \t]{0,4}$",
    ),
    _rule(
        "role",
        "</|<sys|<ass|<hum|<tool|<func|<unt|<inst",
        r"</?(?:system|assistant|human|tool_results?|tool_use|function_calls|function_results?|untrusted_data"
        r"|instructions?)(?: [^<>\n]{0,80})?>",
        r"</(?:categories|guidance|question|answers?)>\s{0,9}<",
    ),
    _rule(
        "role",
        "human:|assistant:|system message|system prompt|system override|system note|developer |administrator |admin ",
        r"^[ \t>*_#-]{0,8}(?:human|assistant)[*_]{0,2}:",
        r"\b(?:system|developer|administrator|admin) (?:message|prompt|override|note|notice|instruction|directive)s?"
        r"[ \t]{0,3}[:\]=]",
    ),
    _rule(
        "addressed",
        "you are|you're|act as|pretend",
        r"\b(?:you are|you're|act as|pretend to be)(?: (?:now|an?|the|no longer|in|being)){0,3} "
        r"(?:ai|assistant|helpful|language model|llm|chatbot|chatgpt|classifier|claude|dan|developer mode|jailbroken"
        r"|unrestricted|triage bot)\b",
    ),
    _rule(
        "addressed",
        "dear |attention|hey |hello |note |message |for |to ",
        r"\b(?:dear|attention|hey|hello|note|message|for|to)(?: to| for)?[ ,:]{1,3}(?:the |any |all |every )?"
        + _READERS
        + r"[ ,:!.)\]]{1,3}(?:reading|processing|please|you|ignore|must|that|this|classify|label|answer|do)\b",
    ),
    _rule(
        "addressed",
        "ai |llm|language model|classifier",
        r"\b(?:ai|llm|language model|classifier)s? (?:that|which|who)?(?: is| are)?\s?"
        r"(?:reading|processing|classifying|triaging|labell?ing|reads|classifies) th(?:is|e|ese)\b",
    ),
    _rule(
        "demand",
        "classif|categori|label|triage|answer|mark",
        r"\b(?:classify|categori[sz]e|label|triage|answer|mark)[ \t]{1,3}(?:\w{1,15}[ \t]){0,3}"
        + _THINGS
        + r"[ \t]{1,3}(?:\w{1,15}[ \t]){0,4}(?:as|with|to be) [`\"'\u201c]?(?:an? )?(?:bug|feature|question|enhancement"
        r"|documentation|security|performance|critical|high|priority|true|false|user.error|[a-z]{1,20}[`\"'\u201d])",
    ),
    _rule(
        "demand",
        "respond|reply|answer|output",
        r"\b(?:respond|reply|answer)(?: \w{1,12}){0,2} (?:only|exactly|nothing but|solely) (?:with|in|as|by)\b",
        r"\b(?:answer|respond|reply)(?: only| exactly| just)? with (?:[`\"'{\[]|the (?:word|category|json|label))",
        r"\boutput (?:only|exactly|nothing)\b[^\n]{0,40}\b(?:json|category|label|word|answer)",
    ),
    _rule(
        "demand",
        "category|label|answer|verdict|confidence|classification",
        r"\b(?:correct|right|only|final|true) (?:category|label|answer|verdict|classification) (?:is|must be|=)",
        r"\b(?:set|use|with|give|answer|return)(?: \w{1,10}){0,3} confidence(?: (?:of|to|at|is))? ?[:=]? ?(?:1|0?\.9)",
    ),
    _rule(
        "answer",
        "rationale|categor|answers",
        _QUOTE + r"rationale" + _QUOTE + _IS,
        _QUOTE + r"categor(?:y|ies)" + _QUOTE + _IS + r".{0,160}\n?.{0,9}confidence" + _QUOTE,
        _QUOTE + r"confidence" + _QUOTE + _IS + r".{0,60}\n?.{0,9}categor(?:y|ies)" + _QUOTE,
        _QUOTE + r"answers" + _QUOTE + _IS + r"\s{0,9}\[\s{0,9}\{",
    ),
    _rule(
        "neighbour",
        "item|entr|issue|text|report|answer|category|label",
        r"\b(?:other|every|all|each|next|previous|following|remaining|rest of the)(?: (?:the|of|other))? "
        r"(?:items?|entries|entry|issues?|texts?|reports?)(?: \w{1,12}){0,2} (?:in|of|from|on) (?:(?:this|your) "
        r"(?:request|conversation|list|input)|(?:this|the|your) (?:batch|pack|prompt|tool result))\b",
        r"\b(?:answers?|entr(?:y|ies)|items?|category|label) (?:for|to|of|with)(?: the)? (?:ids?|items?|entr(?:y|ies)"
        r"|neighbou?rs?)[ :#`\"']{1,3}[\w-]{1,12}",
        r"\banswers? (?:for|to|of)(?: the)? (?:i\d{1,3}|#\d{1,6}|(?:other|next|previous) (?:item|issue|text)s?)\b",
        r"\b(?:end|start|begin(?:ning)?) of (?:the )?(?:item|untrusted|user input|tool result|issue text)\b",
        r"\bneighbou?r(?:ing)? (?:items?|issues?|texts?|entries)\b",
    ),
    _rule(
        "neighbour",
        "text",
        _QUOTE + r"id" + _QUOTE + _IS + r"\s{0,9}[^,\n]{1,60},\s{0,9}" + _QUOTE + r"text" + _QUOTE + _IS,
        r"[}\]]{1,4}\s{0,9},\s{0,9}\{\s{0,9}" + _QUOTE + r"text" + _QUOTE + _IS,
    ),
    _rule(
        "leak",
        "prompt|instructions",
        r"\b(?:reveal|repeat|print|show|leak|output|tell|quote|write|translate|summari[sz]e|include)(?: \w{1,12}){0,3} "
        r"(?:your|system|hidden|initial|original|secret)(?: (?:system|initial|original|full|exact|hidden))? "
        r"(?:prompt|instructions|message)\b",
        r"\bwhat (?:is|are|was|were) your (?:system |initial |original )?(?:prompt|instructions)\b",
    ),
    _rule("encoded", "", r"(?<![a-z0-9+/])[a-z0-9+/]{400}"),
    _rule("encoded", "\\x|\\u|%|&#", r"(?:\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|%[0-9a-f]{2}|&#x?[0-9a-f]{2,6};){24}"),
    _rule(
        "encoded",
        "base64|rot13|decode|decrypt",
        r"\b(?:decode|decrypt|base64|rot13)\b[^\n]{0,60}\b(?:follow|execute|obey|instructions?)\b",
    ),
    _rule("nested", '[[|{{|[{|{[|{"', r"[\[{]{30}|(?:[\[{]\s?(?:[\"']\w{0,8}[\"']\s?:\s?)?){30}"),
)
"""What a folded text must hold to be suspicious, in this order. Several rules may share a name."""

_HIDDEN = re.compile(
    "[\U000e0000-\U000e007f\u202a-\u202e\u2066-\u2069]|[A-Za-z][\u00ad\u200b-\u200f\u2060-\u2064\ufeff]{1,8}[A-Za-z]"
)
"""Tag characters, marks that turn the direction of writing, invisible characters inside a Latin word."""

_ALIKE = (
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0458\u0501\u04bb\u03bf\u0391\u0410\u0415\u041e\u0420\u0421"
)
_MIXED = re.compile(f"[A-Za-z][{_ALIKE}]{{1,8}}[A-Za-z]|\\b[{_ALIKE}]{{1,3}}[A-Za-z]{{2}}")
"""Cyrillic and Greek letters that look like Latin ones, among Latin ones."""

_FOLLOWED = re.compile(
    r"\b(?:as|was|were|been|is|explicitly) (?:instructed|ordered|commanded)\b"
    r"|\b(?:instructed|told|orders?|demands?|tells|says)(?: (?:us|me|it|you|the \w{1,12})){0,2} to (?:be )?"
    r"(?:answer|classif|label|categori|ignor|treat)"
    r"|\b(?:asks?|asking|wants?|begs?|requests?) to be (?:answer|classif|label|categori|treat)"
    r"|\b(?:ignor|disregard|overrid)\w{0,4}(?: \w{1,12}){0,3} (?:instruction|prompt)s?\b"
    r"|\b(?:prompt|instruction)[ -]injection|\bjailbreak|\bsystem (?:message|override)\b"
    r"|\b(?:other|all|every|each|neighbou?ring|next|previous) (?:item|entr(?:y|ies)|id)s?\b",
    re.IGNORECASE,
)


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text)
    return "".join(char for char in folded if unicodedata.category(char) != "Cf").lower()


def find_suspicion(text: str) -> str:
    """The name of the first sign that `text` speaks to a machine; '' where there is none."""
    if not text.isascii():
        if _HIDDEN.search(text):
            return "hidden"
        if _MIXED.search(text):
            return "mixed"
    folded = _folded(text)
    for rule in RULES:
        if any(needle in folded for needle in rule.needles) and rule.pattern.search(folded):
            return rule.name
    return ""


def speaks_of_orders(rationale: str) -> bool:
    """Whether an answer's reason speaks of orders or of other items, as that of an answer about one text never does."""
    return _FOLLOWED.search(rationale) is not None
