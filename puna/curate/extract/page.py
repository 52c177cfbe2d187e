"""HTML -> text: one walk over the tree (walk.py), a choice among its blocks (content.py), the text (layout.py).

Code keeps its lines and indentation, formulas become TeX, lists and tables stay lists and tables; markers of markdown
are not written unless asked for (Llama 3, 3.1.1, found that they harm).
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import model_validator
from resiliparse.parse.encoding import bytes_to_str, detect_encoding

from puna.base.config import Config
from puna.curate.extract.content import main_content
from puna.curate.extract.layout import write_blocks
from puna.curate.extract.parse import page_title, parse
from puna.curate.extract.walk import read_tree

_PAGE_BEGIN, _PAGE_END = re.compile(rb"(?i)<(html|body)[\s>]"), re.compile(rb"(?i)</(html|body)\s*>")
_MAX_BLOCKS = 200_000  # a page has 180; choosing among more would cost half a minute and half a gigabyte
_FEW_CHARS, _MIN_MAIN_SHARE = 200, 0.25
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
_CONTROL = "".join(map(chr, (*range(9), 0x0B, 0x0C, *range(0x0E, 0x20))))
_BLANK_LINES = re.compile(r"\n{3,}")
_LONGEST_FRAME = 80
# Whole lines that a page's frame writes, never its author.
_FRAME = re.compile(
    r"(?i)(skip to (main )?content|share( this)?( (article|story|page|post))?( (on|via) \w+)?:?|read more|tweet|"
    r"continue reading|(story continues below )?advertisement|advertising|print( this page)?|e-?mail( this)?|pin it|"
    r"facebook|twitter|whatsapp|linkedin|pinterest|reddit|copy link|sign (in|up)( now)?|log ?in|subscribe( now)?|"
    r"load(ing)? more|back to top|(leave a )?comments?|related (articles|stories|posts|topics|coverage)|compartir|"
    r"leer más|publicidad|分享|广告|返回顶部|阅读全文|相关阅读)\W*"
)


@dataclass(frozen=True)
class Extract:
    """`text` of a page, its `title`, and `visible`: all text that a reader sees, menus and all."""

    text: str
    title: str
    visible: str


class ExtractConfig(Config):
    """Settings of the extraction; `main` or `full` alone is short for {mode: ...}."""

    mode: Literal["main", "full"] = "main"
    """The main content, or all that a reader sees."""
    images: bool = False
    """Keep the alternative texts of images, as Llama 3 did; what measures extraction counts them as noise."""
    markdown: bool = False
    """Write the markers of markdown: # for headings, fences around code, backticks in sentences."""

    @model_validator(mode="before")
    @classmethod
    def _mode_alone(cls, value: Any) -> Any:
        return {"mode": value} if isinstance(value, str) else value


def extract_page(body: bytes | str, charset: str = "", config: ExtractConfig = ExtractConfig()) -> Extract:
    """The text of an HTML page, of whatever bytes; never fails.

    If hardly anything is left as main content of a page with little text, all visible text is taken.
    """
    root = parse(body if isinstance(body, str) else decode(body, charset))
    if root is None:
        return Extract("", "", "")
    reading = read_tree(root, config.images, config.markdown)
    title = tidy(page_title(root))
    visible = tidy(write_blocks(reading.blocks, config.markdown))
    if config.mode == "full":
        return Extract(visible, title, visible)
    if len(reading.blocks) > _MAX_BLOCKS:
        return Extract(_without_frame(visible), title, visible)
    text = _without_frame(tidy(write_blocks(main_content(reading, title), config.markdown)))
    is_small_page = len(visible) < 10 * _FEW_CHARS
    if not text or (is_small_page and len(text) < min(_FEW_CHARS, _MIN_MAIN_SHARE * len(visible))):
        text = _without_frame(visible)
    return Extract(text, title, visible)


def is_cut_off(body: bytes) -> bool:
    """Whether a page opens its <html> or <body> and closes neither: of 382 real pages 10, all of them empty frames.

    HTML allows to leave out the end, so this is a rule (`whole_pages`) and no error.
    """
    return _PAGE_BEGIN.search(body) is not None and _PAGE_END.search(body) is None


def decode(body: bytes, charset: str = "") -> str:
    """Text of the bytes of a page: charset of HTTP, else of the page, else detected; never fails."""
    encoding = charset or detect_encoding(body, from_html_meta=True) or "utf-8"
    try:
        return bytes_to_str(body, encoding)
    except (LookupError, UnicodeError):
        return bytes_to_str(body, detect_encoding(body) or "utf-8")


def tidy(text: str) -> str:
    """Composed characters (NFC), plain spaces and line ends, no invisible characters, at most one blank line."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " ")
    if not text.isascii():
        text = unicodedata.normalize("NFC", _without(text, _INVISIBLE))
    text = _without(text, _CONTROL)
    if " \n" in text or "\t\n" in text:
        # Not by a pattern, "[ \t]+$" takes minutes for 100,000 blanks within a line.
        text = "\n".join([line.rstrip(" \t") for line in text.split("\n")])
    return _without_gaps(text).rstrip()


def _without(text: str, chars: str) -> str:
    # To look for one character at a time is a tenth of what a pattern of all costs, and most texts have none.
    return re.sub(f"[{chars}]", "", text) if any(map(text.__contains__, chars)) else text


def _without_gaps(text: str) -> str:
    return (_BLANK_LINES.sub("\n\n", text) if "\n\n\n" in text else text).strip("\n")


def _without_frame(text: str) -> str:
    lines = [line for line in text.split("\n") if len(line) > _LONGEST_FRAME or not _FRAME.fullmatch(line.strip())]
    return _without_gaps("\n".join(lines))
