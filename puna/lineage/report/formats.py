"""Numbers as people read them. The exact value stands beside each in a `<data value=...>` element."""

import math
import re

from puna.lineage.report.markup import Html, tag

PROPORTION = re.compile(r"(accuracy|exact_match|pass@\d+|f1|precision|recall|.*(_rate|_share|_fraction))$")


def is_proportion(metric: str) -> bool:
    """Whether a metric is a share of items, shown in percent: `accuracy/ngram`, `pass@1`, `refusal_rate`."""
    return PROPORTION.match(metric.split("/")[0]) is not None


def lower_is_better(metric: str) -> bool:
    """Whether less of a metric is more: bits per byte, losses, perplexity."""
    return metric.split("/")[0] in ("bits_per_byte", "loss", "perplexity", "nll")


def format_number(value: object) -> str:
    """Four significant digits, thousands grouped; integers in full; a dash for nothing."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "\u2013" if value is None else str(value)
    if not math.isfinite(value):
        return "\u2013"
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}".replace("-", "\u2212")
    size = abs(value)
    if size >= 1000:
        text = f"{value:,.0f}"
    elif size >= 1e-4:
        text = f"{value:.{max(0, 3 - math.floor(math.log10(size)))}f}".rstrip("0").rstrip(".")
    else:
        mantissa, power = f"{value:.2e}".split("e")
        text = f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}"
    return text.replace("-", "\u2212")


def format_short(value: float) -> str:
    """At most four characters or so, for axes: 1.2M, 350k, 0.5."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}".replace("-", "\u2212")
    return f"{value:.4g}".replace("-", "\u2212")


def format_percent(value: float | None) -> str:
    """0.8312 -> 83.1%."""
    return "\u2013" if value is None else f"{100 * value:.1f}%".replace("-", "\u2212")


def format_seconds(seconds: float | None) -> str:
    """0.42 s, 41 s, 5 min 07 s, 2 h 04 min."""
    if seconds is None:
        return "\u2013"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    whole = round(seconds / 60)
    return f"{whole // 60} h {whole % 60:02d} min"


def format_bytes(size: float | None) -> str:
    """Decimal units, three digits: 412 MB, 1.40 GB."""
    if size is None:
        return "\u2013"
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            digits = 2 if size < 9.995 * unit else 1 if size < 99.95 * unit else 0
            return f"{size / unit:.{digits}f} {name}"
    return f"{size:.0f} B"


def format_score(metric: str, value: float | None) -> str:
    """A score in its unit: percent for shares of items, four digits otherwise."""
    return format_percent(value) if is_proportion(metric) else format_number(value)


def format_interval(metric: str, ci95: list[float] | None) -> str:
    """`80.1 to 86.0` (percent without the sign) or `1.2 to 1.3`."""
    if not ci95:
        return "\u2013"
    low, high = (format_score(metric, bound).rstrip("%") for bound in ci95)
    return f"{low} to {high}"


def format_metric(name: str, value: object) -> str:
    """A stage's metric: the unit comes last in its name (`cache_bytes`, `elapsed_s`, `kept_share`)."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if name.endswith("bytes"):
            return format_bytes(value)
        if name.endswith(("_s", "seconds")) and not name.endswith("per_s"):
            return format_seconds(value)
        if is_proportion(name) and 0 <= value <= 1:
            return format_percent(value)
    return format_number(value)


def exact(value: object, text: str) -> Html:
    """The text a reader sees, with the unrounded value kept for machines."""
    return tag("data", text, value="" if value is None else repr(value) if isinstance(value, float) else value)
