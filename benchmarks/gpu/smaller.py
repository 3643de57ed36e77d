"""A folder of images as WebP of about 4.5 kB each, for a machine that little can be carried to.

python -m benchmarks.gpu.smaller imagenette2-160 data/imagenette

Imagenette at 160 pixels comes to 52 MB or more, by the number of its images. What is trained on them is no longer what
is trained on the originals: a table of errors says so.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from PIL import Image

QUALITY = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder with train/CLASS and val/CLASS")
    parser.add_argument("out", type=Path, help="folder that receives the same folders")
    options = parser.parse_args()
    files = sorted(file for file in options.images.glob("*/*/*") if file.is_file())
    new = [(options.out / file.relative_to(options.images)).with_suffix(".webp") for file in files]
    for folder in {file.parent for file in new}:
        folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        size = sum(pool.map(write, files, new, chunksize=64))
    print(f"{len(new)} images, {size / 1e6:.1f} MB")


def write(file: Path, new: Path) -> int:
    """The image at `file` as WebP at `new`; its bytes."""
    with Image.open(file) as image:
        image.convert("RGB").save(new, quality=QUALITY)
    return new.stat().st_size


if __name__ == "__main__":
    main()
