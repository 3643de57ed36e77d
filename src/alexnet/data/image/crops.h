// Crops of JPEG images of one size, decoded by jpeg.h, each thread with a decoder of its own.
#pragma once

#include <cstdint>
#include <memory>

#include "jpeg.h"

namespace {

struct Crops {
    int64_t height, width;      // of every image
    const int64_t (*crops)[3];  // top, left, mirrored (0 or 1)
    int64_t rows, columns;      // of every crop
    uint8_t *out, *done;        // RGB [crop][rows][columns][3], and 1 for each crop that was decoded

    // Decodes crop i from the image in `data`. done[i] becomes 0 if jpeg.h refuses it, or the crop is outside.
    void decode(int64_t i, const uint8_t *data, int64_t bytes) const {
        // A pointer, since g++ would find the address of a thread_local object anew for every Huffman code.
        thread_local const std::unique_ptr<Jpeg> own(new Jpeg());
        Jpeg &jpeg = *own;
        const auto [top, left, mirrored] = crops[i];
        const bool is_inside = top >= 0 && left >= 0 && top <= height - rows && left <= width - columns;
        done[i] = is_inside && columns >= LANES && jpeg.parse(data, bytes, height, width) &&
                  jpeg.decode_rows(top, top + rows);
        if (done[i]) jpeg.write_crop(top, left, rows, columns, mirrored, out + i * rows * columns * 3);
    }
};

}  // namespace
