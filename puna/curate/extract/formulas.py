"""Formulas in the forms in which pages carry them -> TeX: $inline$ and $$display$$.

Sought in this order: TeX that the page gives beside what it shows (annotation of MathML, script of MathJax, data
attributes, alternative texts of images), else MathML (mathml.py). What a renderer drew is the same formula again and
is left out; TeX in the text of the page ($...$, \\(...\\), \\[...\\]) stays as it is.
"""

import re
from typing import Any
from urllib.parse import unquote

from puna.curate.extract.mathml import to_tex

_TEX_ATTRIBUTES = ("data-tex", "data-latex", "data-formula", "data-equation", "data-math", "data-expr", "data-katex")
_TEX_SCRIPT = re.compile(r"(?i)^\s*math/(tex|latex|mml)")
_IMAGE_CLASS = re.compile(r"(?i)(^|[\s_-])(math|latex|tex|mathimg|formula|equation|inlineformula|ztext-math)")
_IMAGE_SOURCE = re.compile(r"(?i)(latex\.codecogs\.com|/cgi-bin/mathtex|latex\.php\?|mathtex\.cgi|chart\?cht=tx)")
_TEX_LIKE = re.compile(r"\\[a-zA-Z({\[]|[_^]\{|[_^]\w|^\s*\$.*\$\s*$", re.DOTALL)
_STYLE = re.compile(r"^\{\s*\\(displaystyle|textstyle|scriptstyle)\b\s*(.*)\}$", re.DOTALL)
_DELIMITERS = (("$$", "$$", True), ("\\[", "\\]", True), ("\\(", "\\)", False), ("$", "$", False))


def read_formula(element: Any) -> tuple[str, bool] | None:
    """TeX of a formula and whether it is displayed; ("", False) for a copy of one, None if it is no formula at all."""
    tag = element.tag
    if tag == "script":
        return _of_script(element)
    if tag == "math":
        return _of_math(element)
    name = element.get("class") or ""
    if "MathJax" in name and _script_follows(element):
        return "", False
    if (given := _given(element)) is not None:
        return given
    if tag == "mjx-container" or "MathJax" in name or "mjx" in name:
        math = next(element.iter("math"), None)
        if math is None and element.get("data-mathml"):
            math = _parsed(element.get("data-mathml"))
        if math is None:
            return None
        tex, displayed = _of_math(math)
        return tex, displayed or element.get("display") in ("true", "block") or "Display" in name
    if "katex" in name or "mwe-math" in name:
        math = next(element.iter("math"), None)
        if math is not None:
            tex, displayed = _of_math(math)
            return tex, displayed or "katex-display" in name or _has_display_image(element)
        image = next(element.iter("img"), None)
        return None if image is None else image_formula(image)
    return None


def image_formula(image: Any) -> tuple[str, bool] | None:
    """TeX of an image that shows a formula, from its attributes, alternative text or address; None if it does not."""
    if (given := _given(image)) is not None:
        return given
    text, source = image.get("alt") or image.get("title") or "", image.get("src") or ""
    name = image.get("class") or ""
    if _IMAGE_SOURCE.search(source):
        if not text.strip() or not _TEX_LIKE.search(text):
            text = unquote(source.partition("?")[2]).partition("latex=")[2] or unquote(source.partition("?")[2]) or text
            text = text.partition("&bg=")[0].replace("+", " ") if "latex=" in source else text
    elif not text.strip() or not (_IMAGE_CLASS.search(name) or _is_tex(text)):
        return None
    tex, displayed = _bare(text)
    return tex, displayed or "display" in name or "center" in name or "block" in name


def written(tex: str, displayed: bool) -> str:
    """TeX between dollars."""
    return f"$${tex}$$" if displayed else f"${tex}$"


def superscript(before: str, content: str) -> str:
    """A superscript in running text: x^2, 10^{-3}, m^2, but the 1st and a footnote's number as they are."""
    content = content.strip()
    is_base = (
        before[-1:].isdigit()
        or before[-1:] == ")"
        or (before[-1:].isalpha() and len(re.findall(r"\w*$", before)[0]) <= (3 if content in ("2", "3") else 1))
    )
    if not is_base or not re.fullmatch(r"[-−+]?\d{1,4}|[-−]?[a-z]", content):
        return content
    return f"^{content}" if len(content) == 1 else f"^{{{content.replace('−', '-')}}}"


def _of_script(script: Any) -> tuple[str, bool] | None:
    kind = script.get("type") or ""
    found = _TEX_SCRIPT.match(kind)
    if found is None or not script.text:
        return None
    displayed = "mode=display" in kind.replace(" ", "").lower()
    if found[1].lower() == "mml":
        math = _parsed(script.text)
        return None if math is None else _of_math(math)
    tex = re.sub(r"^\s*%?\s*<!\[CDATA\[|%?\s*\]\]>\s*$", "", script.text)
    return _tidy(tex), displayed


def _of_math(math: Any) -> tuple[str, bool]:
    displayed = math.get("display") == "block" or math.get("mode") == "display"
    for note in math.iter("annotation"):
        if "tex" in (note.get("encoding") or "").lower() and (note.text or "").strip():
            tex, other = _bare(note.text)
            return tex, displayed or other
    if text := (math.get("alttext") or "").strip():
        tex, other = _bare(text)
        if _TEX_LIKE.search(tex) or math.find(".//*") is None:
            return tex, displayed or other
    return to_tex(math), displayed


def _given(element: Any) -> tuple[str, bool] | None:
    """TeX in a data attribute."""
    for name in _TEX_ATTRIBUTES:
        if text := element.get(name):
            tex, displayed = _bare(text)
            shown = (element.get("data-display") or element.get("data-type") or "").lower()
            return tex, displayed or shown in ("true", "block", "display") or element.tag == "div"
    return None


def _bare(text: str) -> tuple[str, bool]:
    """TeX without its delimiters and the style that a renderer puts around it, and whether they display it."""
    text = text.strip()
    displayed = False
    for begin, end, display in _DELIMITERS:
        if len(text) > len(begin) + len(end) and text.startswith(begin) and text.endswith(end):
            text, displayed = text[len(begin) : -len(end)].strip(), display
            break
    if found := _STYLE.match(text):
        text = found[2]
    return _tidy(text), displayed


def _tidy(tex: str) -> str:
    return " ".join(tex.split()).removeprefix("\\displaystyle ").strip()


def _is_tex(text: str) -> bool:
    text = text.strip()
    return (
        re.match(r"(?s)^(\$.+\$|\\\(.*\\\)|\\\[.*\\\]|\\[a-zA-Z]+.*|.*[_^]\{.*\}.*|.*\\(frac|sqrt|sum|int)\b.*)$", text)
        is not None
    )


def _script_follows(element: Any) -> bool:
    """Whether MathJax 2 left the TeX in a script behind what it drew."""
    follower = element.getnext()
    while follower is not None and "MathJax" in (follower.get("class") or ""):
        follower = follower.getnext()
    if follower is not None and follower.tag == "script":
        return _TEX_SCRIPT.match(follower.get("type") or "") is not None
    # The drawing stands in a <div class="MathJax_Display"> of its own.
    around = element.getparent()
    return around is not None and "MathJax" in (around.get("class") or "") and _script_follows(around)


def _has_display_image(element: Any) -> bool:
    return any("display" in (image.get("class") or "") for image in element.iter("img", "span"))


def _parsed(text: str) -> Any:
    from lxml import etree

    try:
        root = etree.fromstring(text.encode("utf-8", "replace"), etree.HTMLParser(encoding="utf-8"))
    except etree.ParserError:
        return None
    return None if root is None else next(root.iter("math"), None)
