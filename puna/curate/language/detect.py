"""Text -> ISO 639-1 code: by script where the script decides, else resiliparse's detector with a stop-word check."""

import re
from collections import Counter

from resiliparse.parse.lang import detect_fast

UNKNOWN = "unknown"
_LISTED = {
    "en": "the be to of and that have with is are was were a in it for on as at this by from or an not he she "
    "they his her you i we had has but what there their which",
    "es": "de la que el en y a los se del las un por con no una su para es al lo como más o pero sus le ha fue "
    "era este está son hay",
    "fr": "de la le et les des en un une du est que qui dans pour par pas sur au plus avec ce il elle sont je "
    "vous nous se ne",
    "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden "
    "aus er sie ich wir",
    "it": "di che e la il un a per in una mi sono ho non ma lo ha le si ti i con cosa come del della è gli",
    "pt": "de que e o a do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem "
    "à seu sua",
    "nl": "de het een en van ik te dat die in je niet zijn is was op aan met als voor had er maar om hem dan "
    "zou of wat",
}
STOP_WORDS = {language: frozenset(words.split()) for language, words in _LISTED.items()}
"""The commonest words of languages in Latin script; a word shared by several counts for each."""

_SCRIPTS = {
    "kana": re.compile("[\u3040-\u30ff]"),
    "han": re.compile("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0002ffff]"),
    "ko": re.compile("[\uac00-\ud7af\u1100-\u11ff]"),
    "el": re.compile("[\u0370-\u03ff]"),
    "cyrillic": re.compile("[\u0400-\u052f]"),
    "he": re.compile("[\u0590-\u05ff]"),
    "arabic": re.compile("[\u0600-\u06ff]"),
    "hi": re.compile("[\u0900-\u097f]"),
    "th": re.compile("[\u0e00-\u0e7f]"),
}
_LATIN_WORD = re.compile("[a-zA-Z\u00c0-\u024f]+")
_LONG_CHARS, _SAMPLE_CHARS = 600, 4000
# Running text has 0.3 to 0.5; Romanian and Vietnamese reach 0.15 with the words of other languages.
_MIN_STOP_SHARE, _SURE_STOP_SHARE = 0.2, 0.3


def detect_language(text: str) -> str:
    """ISO 639-1 code of the language that most of `text` is in, or "unknown".

    The first 4,000 characters decide. resiliparse's profiles are unsure below some 600 characters; there stop words
    overrule them.
    """
    sample = text[:_SAMPLE_CHARS]
    script = "latin" if sample.isascii() else _main_script(sample)
    if script == "han":
        return "zh"
    if script == "kana":
        return "ja"
    if script in ("ko", "el", "he", "hi", "th"):
        return script
    guess = detect_fast(sample)[0] if sample.strip() else UNKNOWN
    if script != "latin":
        return guess
    if len(sample) >= _LONG_CHARS and guess in STOP_WORDS:
        return guess  # no stop words overrule it
    by_words, share = _by_stop_words(sample)
    is_sure = share >= _SURE_STOP_SHARE and guess not in STOP_WORDS
    return by_words if by_words and (len(sample) < _LONG_CHARS or guess == UNKNOWN or is_sure) else guess


def _main_script(sample: str) -> str:
    counts = {name: len(pattern.findall(sample)) for name, pattern in _SCRIPTS.items()}
    # Three Latin letters weigh as much as one character of another script.
    counts["latin"] = sum(map(len, _LATIN_WORD.findall(sample))) // 3
    # Japanese mixes both; Chinese has no kana beyond a stray quotation.
    if counts["kana"] > 0.05 * (counts["kana"] + counts["han"]):
        counts["kana"] += counts.pop("han")
    return max(counts, key=lambda name: counts[name])


def _by_stop_words(sample: str) -> tuple[str, float]:
    """The language that has most stop words in `sample` and their share, or "" if they are too few to speak for one."""
    found = _LATIN_WORD.findall(sample.lower() if sample.isascii() else sample)
    words = Counter(found if sample.isascii() else map(str.lower, found))
    counts = {name: sum(words[word] for word in known & words.keys()) for name, known in STOP_WORDS.items()}
    hits = sorted(((count, name) for name, count in counts.items()), reverse=True)
    (best, language), (second, _) = hits[:2]
    share = best / max(1, words.total())
    return (language, share) if best > second and share >= _MIN_STOP_SHARE else ("", share)
