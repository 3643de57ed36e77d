"""AVIF."""

from PIL import features

from campaigns.fuzz.format import Format
from campaigns.fuzz.formats.images import encoded_image, read_image


def examples() -> list[bytes]:
    if not features.check("avif"):
        return [encoded_image("PNG")]
    return [encoded_image("AVIF", mode=mode, speed=10) for mode in ("RGB", "RGBA", "L")]


FORMAT = Format("avif", 4, examples, read_image)
