"""Presentation MathML (W3C MathML Core) -> TeX of amsmath.

Each element has a function; unknown ones give what is inside them. Fences grow (\\left, \\right) only around something
tall, a table in fences becomes the matrix of that name, and a base with limits takes them as _ and ^.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from puna.curate.extract.symbols import ACCENTS, FUNCTIONS, LIMITS, SYMBOLS, UNDER_ACCENTS, VARIANTS, letter

_MAX_DEPTH = 80
_TALL = re.compile(r"\\(frac|begin|sum|prod|int|binom|sqrt|overbrace|underbrace)")
_FENCES = {"(": ")", "[": "]", "{": "}", "|": "|", "‖": "‖", "⟨": "⟩", "⌊": "⌋", "⌈": "⌉"}
_MATRICES = {
    ("(", ")"): "pmatrix",
    ("[", "]"): "bmatrix",
    ("|", "|"): "vmatrix",
    ("‖", "‖"): "Vmatrix",
    ("{", ""): "cases",
}
_ESCAPED = {"#": r"\#", "%": r"\%", "&": r"\&", "$": r"\$", "_": r"\_", "{": r"\{", "}": r"\}"}


def to_tex(math: Any) -> str:
    """The TeX of a <math> element, in one line, without dollars."""
    return " ".join(_row(math, 0).split())


def join(parts: Iterable[str]) -> str:
    """Pieces of TeX side by side: a blank only where a command would swallow the letter that follows."""
    text = ""
    for part in parts:
        if part[:1].isalpha() and re.search(r"\\[a-zA-Z]+$", text):
            text += " "
        text += part
    return text


def _tex(element: Any, depth: int) -> str:
    if not isinstance(element.tag, str):
        return ""
    if depth > _MAX_DEPTH:
        return "".join(element.itertext())
    tag = element.tag.rpartition(":")[2].lower()
    return _ELEMENTS.get(tag, _row)(element, depth + 1)


def _row(element: Any, depth: int) -> str:
    children = [child for child in element if isinstance(child.tag, str)]
    if not children:
        return _symbols(element.text or "")
    first, last = _operator(children[0]), _operator(children[-1])
    if len(children) > 1 and first in _FENCES:
        if last == _FENCES[first] and not any(_operator(child) in (first, last) for child in children[1:-1]):
            return _fenced(first, [_tex(child, depth) for child in children[1:-1]], last)
        if len(children) == 2 and _only_table(children[1]) is not None:
            return _fenced(first, [_tex(children[1], depth)], "")
    return join(_tex(child, depth) for child in children)


def _fenced(opening: str, parts: list[str], closing: str) -> str:
    inner = join(parts)
    name = _MATRICES.get((opening, closing))
    if name and inner.startswith(r"\begin{matrix}") and inner.endswith(r"\end{matrix}") and inner.count(r"\begin") == 1:
        return inner.replace("{matrix}", f"{{{name}}}")
    left, right = _symbols(opening) or ".", _symbols(closing) or "."
    if _TALL.search(inner):
        return join([rf"\left{left}", inner, rf"\right{right}"])
    return join([left if opening else "", inner, right if closing else ""])


def _only_table(element: Any) -> Any:
    while element.tag in ("mrow", "mstyle", "mpadded") and len(element) == 1:
        element = element[0]
    return element if element.tag == "mtable" else None


def _operator(element: Any) -> str:
    return (element.text or "").strip() if element.tag == "mo" and not len(element) else ""


def _symbols(text: str) -> str:
    text = " ".join(text.split())
    if text in SYMBOLS:
        return SYMBOLS[text]
    return join(SYMBOLS.get(char) or _ESCAPED.get(char) or letter(char) for char in text)


def _identifier(element: Any, depth: int) -> str:
    text = "".join(element.itertext()).strip().replace("\u2061", "")
    if text in FUNCTIONS:
        return "\\" + text
    variant = VARIANTS.get(element.get("mathvariant") or "", "")
    if len(text) > 1 and text.isascii() and text.isalpha():
        return f"\\{variant or 'mathrm'}{{{text}}}"
    symbols = _symbols(text)
    return f"\\{variant}{{{symbols}}}" if variant and variant != "mathrm" and symbols else symbols


def _number(element: Any, depth: int) -> str:
    return _symbols("".join(element.itertext()).strip())


def _operator_name(element: Any, depth: int) -> str:
    text = "".join(element.itertext()).strip().replace("\u2061", "")
    if text in FUNCTIONS:
        return "\\" + text
    if len(text) > 1 and text.isascii() and text.isalpha():
        return rf"\operatorname{{{text}}}"
    return _symbols(text)


def _text(element: Any, depth: int) -> str:
    text = re.sub(r"\s+", " ", "".join(element.itertext()).replace("\xa0", " "))
    escaped = "".join(_ESCAPED.get(char, char) for char in text)
    return rf"\text{{{escaped}}}" if text.strip() else (r"\ " if text else "")


def _space(element: Any, depth: int) -> str:
    found = re.match(r"\s*(-?[\d.]+)\s*(em|ex|px|pt)?", element.get("width") or "")
    if found is None or found[1].count(".") > 1 or not found[1].strip("-."):
        return ""
    width = float(found[1]) * {"em": 1, "ex": 0.5, "px": 1 / 16, "pt": 1 / 12}.get(found[2] or "em", 1)
    return r"\qquad " if width >= 1.8 else r"\quad " if width >= 0.8 else r"\;" if width >= 0.25 else ""


def _group(tex: str) -> str:
    return tex if len(tex) == 1 else f"{{{tex}}}"


def _base(tex: str) -> str:
    """What scripts are put on: braces unless it is a letter, a number, a command or one pair of parentheses."""
    simple = re.fullmatch(
        r"\w+|\\[a-zA-Z]+|\\math\w+\{\w*\}|[()\[\]|]|\\[{}|]|\([^()]*\)|\\left.*\\right\S{1,2}|", tex, re.DOTALL
    )
    return tex if simple else f"{{{tex}}}"


def _parts(element: Any, depth: int, count: int) -> list[str]:
    parts = [_tex(child, depth) for child in element if isinstance(child.tag, str)]
    return (parts + [""] * count)[:count]


def _fraction(element: Any, depth: int) -> str:
    over, under = _parts(element, depth, 2)
    if (element.get("linethickness") or "").strip() in ("0", "0px", "0pt", "0em"):
        return rf"\binom{{{over}}}{{{under}}}"
    return rf"\frac{{{over}}}{{{under}}}"


def _square_root(element: Any, depth: int) -> str:
    return rf"\sqrt{{{_row(element, depth)}}}"


def _root(element: Any, depth: int) -> str:
    base, index = _parts(element, depth, 2)
    return rf"\sqrt[{index}]{{{base}}}"


def _superscript(element: Any, depth: int) -> str:
    base, above = _parts(element, depth, 2)
    if above in ("'", r"\prime", "''", r"\prime\prime", "'''"):
        return _base(base) + "'" * max(above.count("'"), above.count("prime"))
    return f"{_base(base)}^{_group(above)}"


def _subscript(element: Any, depth: int) -> str:
    base, below = _parts(element, depth, 2)
    return f"{_base(base)}_{_group(below)}"


def _scripts(element: Any, depth: int) -> str:
    base, below, above = _parts(element, depth, 3)
    return f"{_base(base)}_{_group(below)}" + ("'" if above in ("'", r"\prime") else f"^{_group(above)}")


def _under(element: Any, depth: int) -> str:
    base, below = _parts(element, depth, 2)
    sign = _operator(element[1]) if len(element) > 1 else ""
    if sign in UNDER_ACCENTS:
        return rf"\{UNDER_ACCENTS[sign]}{{{base}}}"
    if _takes_limits(base):
        return f"{base}_{_group(below)}"
    return rf"\underset{{{below}}}{{{base}}}"


def _over(element: Any, depth: int) -> str:
    base, above = _parts(element, depth, 2)
    sign = _operator(element[1]) if len(element) > 1 else ""
    if sign in ACCENTS:
        name = ACCENTS[sign]
        wide = {"bar": "overline", "hat": "widehat", "tilde": "widetilde", "vec": "overrightarrow"}
        is_long = len(re.sub(r"\\[a-zA-Z]+", "x", base)) > 1 and not re.fullmatch(r"\\math\w+\{\w\}", base)
        return rf"\{wide.get(name, name) if is_long else name}{{{base}}}"
    if _takes_limits(base):
        return f"{base}^{_group(above)}"
    return rf"\overset{{{above}}}{{{base}}}"


def _under_over(element: Any, depth: int) -> str:
    base, below, above = _parts(element, depth, 3)
    if _takes_limits(base):
        return f"{base}_{_group(below)}^{_group(above)}"
    return rf"\overset{{{above}}}{{\underset{{{below}}}{{{base}}}}}"


def _takes_limits(base: str) -> bool:
    return base.lstrip("\\") in LIMITS or base.startswith((r"\underbrace", r"\overbrace", r"\operatorname"))


def _multiscripts(element: Any, depth: int) -> str:
    before: list[str] = []
    after: list[str] = []
    children = [child for child in element if isinstance(child.tag, str)]
    if not children:
        return ""
    place = after
    for child in children[1:]:
        if child.tag == "mprescripts":
            place = before
        else:
            place.append("" if child.tag == "none" else _tex(child, depth))
    front, behind = _script_pairs(before), _script_pairs(after)
    return ("{}" + front if front else "") + _base(_tex(children[0], depth)) + behind


def _script_pairs(scripts: list[str]) -> str:
    below, above = join(scripts[0::2]), join(scripts[1::2])
    return (f"_{_group(below)}" if below else "") + (f"^{_group(above)}" if above else "")


def _table(element: Any, depth: int) -> str:
    rows = []
    for row in element:
        if row.tag in ("mtr", "mlabeledtr"):
            cells = [cell for cell in row if cell.tag == "mtd"]
            rows.append(" & ".join(_row(cell, depth) for cell in cells))
    align = (element.get("columnalign") or "").split()
    name = "aligned" if len(align) > 1 and align[:2] == ["right", "left"] else "matrix"
    return rf"\begin{{{name}}}" + r" \\ ".join(rows).join((" ", " ")) + rf"\end{{{name}}}"


def _mfenced(element: Any, depth: int) -> str:
    opening, closing = (element.get(name, sign).strip() for name, sign in (("open", "("), ("close", ")")))
    separators = "".join(element.get("separators", ",").split())
    parts: list[str] = []
    for number, child in enumerate(element):
        if number and separators:
            parts.append(_symbols(separators[min(number, len(separators)) - 1]))
        parts.append(_tex(child, depth))
    return _fenced(opening, parts, closing)


def _first(element: Any, depth: int) -> str:
    return _tex(element[0], depth) if len(element) else _symbols(element.text or "")


def _enclosed(element: Any, depth: int) -> str:
    notation = element.get("notation") or ""
    name = (
        "boxed" if "box" in notation else "cancel" if "strike" in notation else "sqrt" if "radical" in notation else ""
    )
    inner = _row(element, depth)
    return rf"\{name}{{{inner}}}" if name else inner


def _nothing(element: Any, depth: int) -> str:
    return ""


_ELEMENTS: dict[str, Callable[[Any, int], str]] = {
    "mi": _identifier, "mn": _number, "mo": _operator_name, "mtext": _text, "ms": _text, "mspace": _space,
    "mfrac": _fraction, "msqrt": _square_root, "mroot": _root, "msup": _superscript, "msub": _subscript,
    "msubsup": _scripts, "munder": _under, "mover": _over, "munderover": _under_over, "mmultiscripts": _multiscripts,
    "mtable": _table, "mfenced": _mfenced, "semantics": _first, "maction": _first, "menclose": _enclosed,
    "mphantom": _nothing, "annotation": _nothing, "annotation-xml": _nothing, "mprescripts": _nothing, "none": _nothing,
}  # fmt: skip
