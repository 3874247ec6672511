"""Find the format of a photo from its first bytes, not from its name; this module lists all formats that are read."""

from __future__ import annotations

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")  # as Pillow calls them; no other format is opened
HEAD_BYTES = 64  # number of first bytes that show the format
BITMAP_HEADERS = {12, 40, 52, 56, 64, 108, 124}  # header sizes in bytes, because a text may also begin with BM
OTHER_FORMATS = {  # by their first bytes in lower case, after white space
    b"version https://git-lfs": "a Git LFS pointer, run `git lfs pull`",
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"<svg": "SVG",
    b"<?xml": "XML",
    b"%pdf": "PDF",
    b"%!ps": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",  # EPS with a preview
    b"pk\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"p3": "PPM",
    b"p6": "PPM",
    b"p5": "PGM",
    b"8bps": "Photoshop",
    b"\x00\x00\x00\x0cjp  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cjxl ": "JPEG XL",
    b"\x00\x00\x01\x00": "an icon",
    b"II+\x00".lower(): "BigTIFF",
    b"MM\x00+".lower(): "BigTIFF",
}
HEIF_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF", b"hevc": "HEIC", b"avif": "AVIF"}


def photo_format(head: bytes) -> str | None:
    """The format, one of FORMATS, of a photo that begins with `head`; None for other bytes."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"II*\0", b"MM\0*")):
        return "TIFF"
    return "BMP" if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in BITMAP_HEADERS else None


def describe_bytes(head: bytes) -> str:
    """Say in words what kind of file begins with `head`, which is no photo; "no photo" for an unknown kind."""
    if not head:
        return "empty"
    if head[4:8] == b"ftyp":
        return HEIF_BRANDS.get(head[8:12], "a film")
    if not any(head):
        return "nothing but zeros"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower() or head
    return next((words for start, words in OTHER_FORMATS.items() if text.startswith(start)), "no photo")
