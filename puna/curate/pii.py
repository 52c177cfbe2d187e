"""Personal data in a text -> masks: e-mail, telephone, routable IP addresses, payment cards, secrets, national numbers.

What has a checksum is masked only if it is right: a card by Luhn's (ISO/IEC 7812), national numbers by their own.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from puna.curate.text.number_shapes import number_shapes

KINDS = ("email", "phone", "ip", "card", "secret", "id")
"""What is masked; a mask is the kind in brackets."""
EMAIL, PHONE, IP, CARD, SECRET, ID = (f"[{kind}]" for kind in KINDS)
National = Literal["us", "es", "fr", "cn"]
"""Whose national numbers can be looked for: SSN, DNI and NIE, NIR, and the Chinese resident's number."""

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
_CARD = re.compile(r"(?<![\w.,/-])[3-6]\d{3}(?:[ -]?\d){9,15}(?![\w-]|[.,]\d)")
# Keys that say what they are: private key blocks, AWS, GitHub, GitLab, Slack, Google, Stripe, OpenAI, JSON web tokens.
_SECRET = re.compile(
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----(?:(?!-----BEGIN )[\s\S]){0,8000}?-----END (?:[A-Z]+ )*PRIVATE KEY-----"
    r"|(?<![A-Za-z0-9_])(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,}"
    r"|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,}|AIza[\w-]{35}|(?:sk|pk|rk)[-_](?:live|test|proj|ant)[-_][\w-]{16,}"
    r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,})(?![A-Za-z0-9_])"
)
_SECRET_CUES = ("PRIVATE KEY", "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox",
                "AIza", "sk-", "sk_", "pk-", "pk_", "rk-", "rk_", "eyJ")  # fmt: skip
_NATIONAL = {
    "us": re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"),
    "es": re.compile(r"(?<![\w-])[XYZxyz\d]-?\d{7}-?[A-Za-z](?![\w-])"),
    "fr": re.compile(r"(?<![\w.,-])[12] ?\d\d ?(?:0[1-9]|1[0-2]) ?\d[\dAB] ?\d{3} ?\d{3} ?\d\d(?![\w-])"),
    "cn": re.compile(r"(?<![\w-])\d{6}(?:19|20)\d{9}[\dXx](?![\w-])"),
}


@dataclass(frozen=True)
class Masked:
    """`text` with masks, and how many of each kind were put in."""

    text: str
    counts: Counter[str]


def mask_personal_data(text: str, national: Sequence[National] = ()) -> Masked:
    """Mask what identifies a person, pays or opens a door. national: countries whose numbers are looked for.

    A number is a telephone's by its form, or by a word such as "phone" before it. A pattern is looked for
    only where the text holds numbers of its shape; masks have no digits, so no mask makes one.
    """
    counts, shapes = Counter[str](), number_shapes(text)
    if any(cue in text for cue in _SECRET_CUES):
        text, counts["secret"] = _SECRET.subn(SECRET, text)
    if "@" in text:
        text, counts["email"] = _EMAIL.subn(EMAIL, text)
    if shapes.dotted:
        text, counts["ip"] = _masked_if(_IP, IP, _is_global, text)
    if shapes.chained:
        text, counts["card"] = _masked_if(_CARD, CARD, _passes_luhn, text)
    for country in national:
        text, count = _masked_if(_NATIONAL[country], ID, _IS_NATIONAL[country], text)
        counts["id"] += count
    if shapes.spaced:
        text, counts["phone"] = _PHONES.subn(PHONE, text)
    if shapes.spread:
        text, cued = _CUED_PHONE.subn(lambda match: match.group(1) + PHONE, text)
        counts["phone"] += cued
    return Masked(text, +counts)


def _masked_if(pattern: re.Pattern[str], mask: str, holds: Callable[[str], bool], text: str) -> tuple[str, int]:
    """The text with a mask for each match of which the check holds, and their number."""
    found = [match for match in pattern.finditer(text) if holds(match.group())]
    for match in reversed(found):
        text = text[: match.start()] + mask + text[match.end() :]
    return text, len(found)


def _passes_luhn(number: str) -> bool:
    digits = [int(char) for char in number if char.isdigit()]
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_us(number: str) -> bool:
    """Social Security numbers have no check digit; areas 000, 666 and 900 on, and zeros, are never given out."""
    area, group, serial = number.split("-")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def _is_es(number: str) -> bool:
    plain = number.upper().replace("-", "")
    digits = str("XYZ".find(plain[0])) + plain[1:-1] if plain[0] in "XYZ" else plain[:-1]
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(digits) % 23] == plain[-1]


def _is_fr(number: str) -> bool:
    plain = number.replace(" ", "").replace("2A", "19").replace("2B", "18")
    return plain.isdigit() and 97 - int(plain[:13]) % 97 == int(plain[13:])


def _is_cn(number: str) -> bool:
    """GB 11643: ISO 7064 MOD 11-2 over 17 digits."""
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(number[:17]))
    return "10X98765432"[total % 11] == number[17].upper()


_IS_NATIONAL: dict[str, Callable[[str], bool]] = {"us": _is_us, "es": _is_es, "fr": _is_fr, "cn": _is_cn}


def _is_global(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False
