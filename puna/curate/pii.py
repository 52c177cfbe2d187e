"""Personal data in a text -> masks: e-mail addresses, telephone numbers, globally routable IP addresses."""

import ipaddress
import re
from dataclasses import dataclass

EMAIL, PHONE, IP = "[email]", "[phone]", "[ip]"

_EMAIL = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9][\w.+-]*@(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,}(?![\w-])"
)
_IP = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{1,4})(?![\w:]|\.\d)")
_DIGITS = r"\(?\+?\d(?:[\d().\-\s/]{4,18})\d"
_PHONES = re.compile(
    r"(?<![\w.@/+-])(?:"
    r"\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){1,4}"  # +49 30 1234567
    r"|\(\d{2,4}\) ?\d{3,4}[ .-]?\d{4}"  # (555) 010-4477
    r"|\d{3}[.-]\d{3}[.-]\d{4}|\d{3} \d{3} \d{4}|555-\d{4}"  # 555-010-4477
    r"|1[3-9]\d(?:[ -]?\d{4}){2}"  # Chinese mobile
    r")(?![\w-]|[.,]\d)"
)
_CUED_PHONE = re.compile(
    r"(?i)(?<!\w)((?:tel(?:[eé]fono|ephone)?|phone|mobile|m[oó]vil|fax|whatsapp|电话|手机|电话号码)"
    r"(?: (?:number|me|us|is|at|on|no))?[.:：]{0,2}\s{0,2}(?:是|为)?)(" + _DIGITS + r")(?!\w)"
)


@dataclass(frozen=True)
class Masked:
    """`text` with masks, and how many of each were put in."""

    text: str
    emails: int
    phones: int
    ips: int


def mask_personal_data(text: str) -> Masked:
    """Mask what identifies a person. A number is a telephone's by its form, or by a word such as "phone" before it."""
    emails = phones = ips = 0
    if "@" in text:
        text, emails = _EMAIL.subn(EMAIL, text)
    if "." in text or ":" in text:
        found = [match for match in _IP.finditer(text) if _is_global(match.group())]
        ips = len(found)
        for match in reversed(found):
            text = text[: match.start()] + IP + text[match.end() :]
    text, phones = _PHONES.subn(PHONE, text)
    text, cued = _CUED_PHONE.subn(lambda match: match.group(1) + PHONE, text)
    return Masked(text, emails, phones + cued, ips)


def _is_global(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False
