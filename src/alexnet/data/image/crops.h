// Crops of stored images of one size: JPEG by jpeg.h, each thread with a decoder of its own; BMP by bitmap.h.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>

#include "bitmap.h"
#include "jpeg.h"

namespace {

struct Crops {
    int64_t height, width;      // of every image
    const int64_t (*crops)[3];  // top, left, mirrored (0 or 1)
    int64_t rows, columns;      // of every crop
    uint8_t *out, *done;        // RGB [crop][rows][columns][3], and 1 for each crop that was decoded

    // Decodes crop i from the image in `data`. done[i] becomes 0 if its decoder refuses it, or the crop is outside, or
    // memory is short: an exception would end the process, since threads of others call this.
    void decode(int64_t i, const uint8_t *data, int64_t bytes) const noexcept {
        try {
            decode_or_throw(i, data, bytes);
        } catch (const std::exception &) {
            done[i] = 0;
        }
    }

   private:
    void decode_or_throw(int64_t i, const uint8_t *data, int64_t bytes) const {
        const auto [top, left, mirrored] = crops[i];
        const bool is_inside = top >= 0 && left >= 0 && top <= height - rows && left <= width - columns;
        const bool is_bitmap = bytes >= 2 && data[0] == 'B' && data[1] == 'M';
        uint8_t *to = out + i * rows * columns * 3;
        done[i] = is_inside && (is_bitmap ? from_bitmap(i, data, bytes, to) : from_jpeg(i, data, bytes, to));
    }

    bool from_bitmap(int64_t i, const uint8_t *data, int64_t bytes, uint8_t *to) const {
        const auto [top, left, mirrored] = crops[i];
        Bitmap bitmap;
        if (!bitmap.parse(data, bytes, height, width)) return false;
        bitmap.write_crop(top, left, rows, columns, mirrored, to);
        return true;
    }

    bool from_jpeg(int64_t i, const uint8_t *data, int64_t bytes, uint8_t *to) const {
        // A pointer, since g++ would find the address of a thread_local object anew for every Huffman code.
        thread_local const std::unique_ptr<Jpeg> own(new Jpeg());
        Jpeg &jpeg = *own;
        const auto [top, left, mirrored] = crops[i];
        if (columns < LANES || !jpeg.parse(data, bytes, height, width) || !jpeg.decode_rows(top, top + rows))
            return false;
        jpeg.write_crop(top, left, rows, columns, mirrored, to);
        return true;
    }
};

}  // namespace
