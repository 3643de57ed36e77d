"""The campaign on the JPEG decoder, short, and the files that it is made of."""

import random
import shutil

import numpy as np
import pytest
import simplejpeg
from scripts import json_of

from alexnet.data.image import pixels
from campaigns.fuzz.jpeg_writer import make_jpeg


@pytest.mark.skipif(not (shutil.which("clang++") or shutil.which("g++")), reason="no compiler here")
def test_sanitizers_find_nothing_in_the_decoder() -> None:
    found = json_of("campaigns.decoder", "--inputs", 20_000, "--files", 300)
    assert found["failure"] == ""
    assert found["inputs"] >= 300


def test_files_of_random_structure_are_whole_and_decoded_as_by_libjpeg_turbo() -> None:
    shapes, accepted = set(), 0
    for seed in range(200):
        data = make_jpeg(random.Random(seed))
        expected = simplejpeg.decode_jpeg(data)
        found = np.empty((1, *expected.shape), np.uint8)
        if pixels.decode_crops([data], expected.shape[:2], pixels.WHOLE, found).all():
            assert np.array_equal(found[0], expected)
            accepted += 1
        shapes.add(expected.shape)
    assert len(shapes) > 100
    assert accepted > 60 or pixels.library() is None
