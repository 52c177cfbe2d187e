"""EPUB 2 and 3 -> the text of its chapters in reading order (EPUB 3.3, W3C: OCF container, package, spine)."""

import posixpath
import struct
import zipfile
import zlib
from typing import IO, Any
from urllib.parse import unquote
from xml.etree import ElementTree

from puna.curate.extract.page import ExtractConfig, extract_page
from puna.curate.read.damage import Damaged, larger_than

_CONTAINER, _ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
_RIGHTS = ("META-INF/rights.xml", "META-INF/sinf.xml")  # Adobe's and Apple's
_FONT_ALGORITHMS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_HTML = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")
_XML_BYTES = 8 << 20
_DIRECTORY_BYTES = 16 << 20  # some 200,000 files
_FAILURES = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError, KeyError)


def read_epub(content: IO[bytes], max_bytes: int) -> dict[str, Any]:
    """text, title, author, language, date; problems of single chapters: (name, problem). Raises Damaged for others."""
    _check_directory(content)
    try:
        book = zipfile.ZipFile(content)
        _check_rights(book)
        root = _xml(book, _CONTAINER).find(".//{*}rootfile")
        path = root.get("full-path") if root is not None else None
        if not path:
            raise Damaged("damaged EPUB (no package)")
        package = _xml(book, path)
    except (ElementTree.ParseError, *_FAILURES) as error:
        raise Damaged(f"damaged EPUB ({type(error).__name__})") from None
    texts, problems, left = [], [], max_bytes
    for name in _spine(package, posixpath.dirname(path)):
        try:
            page = _read(book, name, max_bytes)
        except Damaged as damage:
            problems.append([name, str(damage)])
            continue
        except _FAILURES as error:
            problems.append([name, f"damaged chapter ({type(error).__name__})"])
            continue
        left -= len(page)
        if left < 0:
            raise Damaged(larger_than(max_bytes))
        if text := extract_page(page, config=ExtractConfig(mode="full")).text.strip():
            texts.append(text)
    if not texts and not problems:
        raise Damaged("no text in EPUB")
    about = {key: _about(package, name) for key, name in _ABOUT.items()}
    return about | {"problems": problems} | ({"text": "\n\n".join(texts)} if texts else {})


_ABOUT = {"title": "title", "author": "creator", "language": "language", "date": "date"}


def _about(package: ElementTree.Element, name: str) -> str:
    """A word of the Dublin Core about the book; several authors with a comma between."""
    found = [" ".join("".join(one.itertext()).split()) for one in package.findall(f".//{{*}}metadata//{{*}}{name}")]
    found = [one for one in found if one]
    return (", ".join(dict.fromkeys(found)) if name == "creator" else next(iter(found), ""))[:500]


def _spine(package: ElementTree.Element, folder: str) -> list[str]:
    """Names of the chapters in the order of reading, each once, without the table of contents."""
    items = {item.get("id"): item for item in package.findall(".//{*}manifest/{*}item")}
    names = []
    for reference in package.findall(".//{*}spine/{*}itemref"):
        item = items.get(reference.get("idref"))
        if item is None or item.get("media-type") not in _HTML or "nav" in (item.get("properties") or "").split():
            continue
        address = unquote((item.get("href") or "").partition("#")[0])
        names.append(posixpath.normpath(posixpath.join(folder, address)))
    return list(dict.fromkeys(names))


def _check_rights(book: zipfile.ZipFile) -> None:
    """Raises Damaged if more than fonts is encrypted."""
    names = set(book.namelist())
    if any(name in names for name in _RIGHTS):
        raise Damaged("encrypted EPUB (DRM)")
    if _ENCRYPTION in names:
        methods = [method.get("Algorithm") for method in _xml(book, _ENCRYPTION).findall(".//{*}EncryptionMethod")]
        if any(method not in _FONT_ALGORITHMS for method in methods):
            raise Damaged("encrypted EPUB (DRM)")


def _xml(book: zipfile.ZipFile, name: str) -> ElementTree.Element:
    return ElementTree.fromstring(_read(book, name, _XML_BYTES))


def _read(book: zipfile.ZipFile, name: str, max_bytes: int) -> bytes:
    with book.open(name) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise Damaged(larger_than(max_bytes))
    return data


def _check_directory(content: IO[bytes]) -> None:
    """Raises Damaged if the list of files is too long: zipfile reads it whole. (APPNOTE.TXT 4.3.14 to 4.3.16)"""
    size = content.seek(0, 2)
    content.seek(max(0, size - (1 << 16) - 22 - 20))
    tail = content.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise Damaged("damaged EPUB (no list of files)")
    num_files, num_bytes = struct.unpack_from("<HI", tail, end + 10)
    is_long = num_files == 0xFFFF or b"PK\x06\x07" in tail[max(0, end - 20) : end]
    if is_long or num_bytes > _DIRECTORY_BYTES:
        raise Damaged("damaged EPUB (too many files)")
    content.seek(0)
