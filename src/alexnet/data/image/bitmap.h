// Crops of an uncompressed BMP image, the form in which a store keeps small images (encode.py).
//
//     14 bytes   "BM", bytes in the file, 0, where the pixels begin
//     40 bytes   BITMAPINFOHEADER: its length, width, height, 1 plane, 24 bits, no compression, bytes of pixels, zeros
//     rows       from the bottom row to the top one, each B, G, R and padded to a multiple of four bytes
//
// Nothing of the header is believed: all of it must be what encode.py writes for an image of this size.
#pragma once

#include <cstdint>
#include <cstring>

#include "lanes.h"

namespace {

constexpr int64_t BITMAP_HEADER = 54;
constexpr int64_t MAX_BITMAP_SIDE = 4096;

class Bitmap {
   public:
    // Returns false unless `data` is an image of this size, whole, with the header that belongs to it.
    bool parse(const uint8_t *data, int64_t bytes, int64_t height, int64_t width) {
        if (height < 1 || width < 1 || height > MAX_BITMAP_SIDE || width > MAX_BITMAP_SIDE) return false;
        stride = (3 * width + 3) / 4 * 4;
        const int64_t pixel_bytes = stride * height;
        if (bytes != BITMAP_HEADER + pixel_bytes) return false;
        const uint32_t fields[] = {uint32_t(bytes),  0,           uint32_t(BITMAP_HEADER), 40, uint32_t(width),
                                   uint32_t(height), 1 | 24 << 16};
        uint8_t expected[BITMAP_HEADER] = {'B', 'M'};
        std::memcpy(expected + 2, fields, sizeof fields);
        const uint32_t length = uint32_t(pixel_bytes);
        std::memcpy(expected + 34, &length, 4);
        if (std::memcmp(data, expected, BITMAP_HEADER)) return false;
        top_row = data + BITMAP_HEADER + (height - 1) * stride;
        return true;
    }

    // Writes the crop at (top, left), which lies within the image, as RGB, uint8 [rows][columns][3].
    void write_crop(int64_t top, int64_t left, int64_t rows, int64_t columns, bool mirrored, uint8_t *out) const {
        const uint8_t *from = top_row - top * stride + 3 * left;
        for (int64_t y = 0; y < rows; y++, from -= stride, out += 3 * columns)
            mirrored ? reverse(from, 3 * columns, out) : swap(from, columns, out);
    }

   private:
    const uint8_t *top_row;
    int64_t stride;  // bytes from one row to the next

    // B, G, R of each pixel to R, G, B: five pixels of sixteen bytes at a time.
    static void swap(const uint8_t *from, int64_t columns, uint8_t *to) {
        int64_t x = 0;
        for (; x + 6 <= columns; x += 5, from += 15, to += 15) {
            const Bytes pixels = load(from);
            store(to, PERMUTE(pixels, pixels, 2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9, 14, 13, 12, 15));
        }
        for (; x < columns; x++, from += 3, to += 3) to[0] = from[2], to[1] = from[1], to[2] = from[0];
    }

    // The last byte of B, G, R first: R, G, B of the row mirrored.
    static void reverse(const uint8_t *from, int64_t bytes, uint8_t *to) {
        int64_t i = 0;
        for (; i + LANES <= bytes; i += LANES) store(to + i, reversed(load(from + bytes - LANES - i)));
        for (; i < bytes; i++) to[i] = from[bytes - 1 - i];
    }
};

}  // namespace
