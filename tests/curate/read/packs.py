"""Packed bytes for the tests of reading, made without what reads them."""

import gzip
import io
import lzma
import zipfile
import zlib

import pyarrow as pa

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)


def zstd(data: bytes) -> bytes:
    """One frame."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


PACKS = {"gz": lambda data: gzip.compress(data, mtime=0), "xz": lzma.compress, "zst": zstd}


def gzip_bomb(num_bytes: int, begin: bytes = b"", end: bytes = b"", byte: bytes = b"\0") -> bytes:
    """A gzip member of `begin`, `num_bytes` equal bytes and `end`, some thousandth of that size."""
    packer, block = zlib.compressobj(6, zlib.DEFLATED, 31), byte * (1 << 20)
    parts = [packer.compress(begin)]
    parts += [packer.compress(block) for _ in range(num_bytes >> 20)]
    return b"".join([*parts, packer.compress(block[: num_bytes & 0xFFFFF] + end), packer.flush()])


def epub(
    chapters: dict[str, bytes], order: list[str] | None = None, extra: dict[str, bytes] | None = None, about: str = ""
) -> bytes:
    """An EPUB of chapters by file name, with a spine in `order`; `about` is put into its metadata."""
    items = "".join(f'<item id="i{i}" href="{n}" media-type="application/xhtml+xml"/>' for i, n in enumerate(chapters))
    ids = {name: f"i{i}" for i, name in enumerate(chapters)}
    spine = "".join(f'<itemref idref="{ids.get(name, name)}"/>' for name in order or chapters)
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/">{about}</metadata><manifest>{items}</manifest>'
        f"<spine>{spine}</spine></package>"
    )
    files = {"META-INF/container.xml": CONTAINER.encode(), "OEBPS/book.opf": package.encode()}
    files |= {f"OEBPS/{name}": body for name, body in chapters.items()} | (extra or {})
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as book:
        for name, body in files.items():
            book.writestr(name, body)
    return sink.getvalue()
