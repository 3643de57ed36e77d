"""WebP, GIF and BMP."""

from campaigns.fuzz.format import Format
from campaigns.fuzz.formats.images import encoded_image, read_image


def examples() -> list[bytes]:
    return [
        *(encoded_image("WEBP", mode="RGB", lossless=lossless) for lossless in (False, True)),
        *(encoded_image("WEBP", mode="RGBA", lossless=lossless) for lossless in (False, True)),
        *(encoded_image("GIF", mode=mode) for mode in ("P", "L")),
        *(encoded_image("BMP", mode=mode) for mode in ("RGB", "L", "P")),
    ]


FORMAT = Format("webp, gif, bmp", 10, examples, read_image)
