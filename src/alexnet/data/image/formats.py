"""Which image format a file has, by its first bytes, and which formats are decoded."""

from typing import Final

from PIL import Image, TiffImagePlugin, WebPImagePlugin, features

from alexnet.data.image import png

Image.preinit()
assert WebPImagePlugin and TiffImagePlugin  # importing them registers the formats; preinit registers the other four

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", *(["AVIF"] if features.check("avif") else []))
"""The only formats that Pillow may try: it knows dozens, and starts other programs for some."""

NAMES: Final = {"WEBP": "WebP", "JXL": "JPEG XL", "JPEG2000": "JPEG 2000"}
"""How a format is called where that is not its name in capitals."""

_SIGNATURES: Final = {
    b"\xff\xd8\xff": "JPEG",
    png.SIGNATURE: "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "BigTIFF",
    b"MM\0+": "BigTIFF",
    b"\xff\x0a": "JXL",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JXL",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
    b"8BPS": "Photoshop",
    b"%PDF": "PDF",
    b"<svg": "SVG",
}
_BRANDS: Final = {"AVIF": {b"avif", b"avis"}, "HEIC": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1"}}
"""The brands of ISO base media files, which say what is in them."""

HEAD: Final = 64
"""Bytes from the start of a file that decide about its format."""


def format_of(head: bytes | memoryview) -> str | None:
    """The format of a file that begins with `head` (`HEAD` bytes are enough); None for anything else."""
    head = bytes(head[:HEAD])
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        brands = {head[at : at + 4] for at in range(8, min(len(head), int.from_bytes(head[:4], "big")) - 3, 4)}
        return next((name for name, known in _BRANDS.items() if brands & known), None)
    return next((name for signature, name in _SIGNATURES.items() if head.startswith(signature)), None)


def name(image_format: str) -> str:
    """What a format is called in a sentence."""
    return NAMES.get(image_format, image_format)


def known_formats() -> str:
    """The formats that are decoded, for a sentence: "JPEG, PNG, WebP, GIF, BMP or TIFF"."""
    names = [name(each) for each in FORMATS]
    return f"{', '.join(names[:-1])} or {names[-1]}"
