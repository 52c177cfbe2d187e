"""Characters a token as a chart: an SVG file that any browser shows, one bar a tokenizer in each row."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from puna.tokenizer.fertility import Fertility

_COLOURS = ("#2f6db5", "#d9822b", "#3d9657", "#a8479c", "#b33a3a", "#6b6b6b")
_WIDTH, _LEFT, _RIGHT, _BAR, _GAP, _TOP = 860, 210, 60, 13, 10, 54  # pixels


def fertility_svg(rows: Sequence[Fertility]) -> str:
    """The chart of `measure_fertility`'s rows, in their order; the number stands at the end of each bar."""
    names = list(rows[-1].tokens)
    longest = max(row.chars_per_token(name) for row in rows for name in names)
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    height = _TOP + len(rows) * (len(names) * _BAR + _GAP)
    shapes = [_text(_LEFT, 20, "Characters a token", weight="bold")]
    at = _LEFT
    for number, name in enumerate(names):
        shapes += [_bar(at, 31, 10, number, 10), _text(at + 14, 40, name)]
        at += 40 + 7 * len(name)
    for number, row in enumerate(rows):
        top = _TOP + number * (len(names) * _BAR + _GAP)
        middle = top + len(names) * _BAR / 2 + 4
        shapes.append(_text(_LEFT - 8, middle, f"{row.language}  {row.domain}", anchor="end"))
        for index, name in enumerate(names):
            value = row.chars_per_token(name)
            y = top + index * _BAR
            shapes.append(_bar(_LEFT, y, value * scale, index))
            shapes.append(_text(_LEFT + value * scale + 4, y + _BAR - 3, f"{value:.2f}"))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif">'
    return "\n".join([head, f'<rect width="{_WIDTH}" height="{height}" fill="white"/>', *shapes, "</svg>"]) + "\n"


def _bar(x: float, y: float, width: float, colour: int, height: int = _BAR - 2) -> str:
    fill = _COLOURS[colour % len(_COLOURS)]
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" fill="{fill}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text {place} font-size="11">{escape(text)}</text>'
