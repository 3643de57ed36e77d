"""Rescaling with img2dataset, in a process of its own (`separate_process.py`).

    python -m benchmarks.preparing.worker_img2dataset FOLDER 256

Arguments: a folder of JPEG files, and the size. img2dataset fetches by URL; these are `file:` URLs, and nothing is
downloaded. It takes every image `TIMES` times in a round, so that the start of its processes counts less. It wants
older versions of OpenCV and WebDataset than others do, and so another virtual environment: `pip install img2dataset`.
"""

import importlib.metadata
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # which would ask the network

from img2dataset import download

from benchmarks.separate_process import serve

TIMES = 3


def prepare() -> tuple[dict[str, Any], Callable[[], object]]:
    images, size = sorted(Path(sys.argv[1]).rglob("*.jpg")) * TIMES, int(sys.argv[2])
    cores = len(os.sched_getaffinity(0))

    def work() -> None:
        with tempfile.TemporaryDirectory() as name:
            urls, out = Path(name, "urls.txt"), Path(name, "out")
            urls.write_text("".join(f"{path.absolute().as_uri()}\n" for path in images))
            download(
                url_list=str(urls),
                output_folder=str(out),
                output_format="files",
                image_size=size,
                resize_mode="center_crop",
                encode_quality=95,
                processes_count=cores,
                thread_count=16,
                number_sample_per_shard=-(-len(images) // (2 * cores)),
            )
            stats = [json.loads(path.read_text()) for path in out.glob("*_stats.json")]
            done = sum(each["successes"] for each in stats)
            if done < len(images):
                raise RuntimeError(f"img2dataset wrote {done} of {len(images)} images")

    return {"version": importlib.metadata.version("img2dataset"), "times": TIMES}, work


if __name__ == "__main__":  # it starts processes that import this file
    serve(prepare)
