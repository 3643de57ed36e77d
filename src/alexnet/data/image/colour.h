// Chroma upsampling and YCbCr to RGB, as libjpeg-turbo does them (jdsample.c and jdcolor.c).
#pragma once

#include <algorithm>
#include <cstdint>

#include "lanes.h"

namespace {

// "Fancy" h2v2 upsampling of one row: a triangle filter. Each output sample is 9/16 of the nearest input sample, 3/16
// of the next nearest one in its row and in its column, and 1/16 of the one across.
//
// `near` and `far`: the nearest and next nearest input rows, uint8 [columns]; `out`: uint8 [2 * columns]; `sums`:
// scratch memory, uint16 [columns + 2].
inline void upsample_h2v2(const uint8_t *__restrict near, const uint8_t *__restrict far, int64_t columns,
                          uint16_t *__restrict sums, uint8_t *__restrict out) {
    sums++;
    for (int64_t x = 0; x < columns; x++) sums[x] = 3 * near[x] + far[x];
    sums[-1] = sums[0], sums[columns] = sums[columns - 1];
    for (int64_t x = 0; x < columns; x++) {  // rounds up and down in turn, which leaves no bias
        out[2 * x] = uint16_t(3 * sums[x] + sums[x - 1] + 8) >> 4;
        out[2 * x + 1] = uint16_t(3 * sums[x] + sums[x + 1] + 7) >> 4;
    }
}

constexpr int SCALEBITS = 16;  // fractional bits of the constants
constexpr int32_t ONE_HALF = 1 << (SCALEBITS - 1);
constexpr int CENTRE_CHROMA = 128;
constexpr int32_t FIX_0_34414 = 22554;
constexpr int32_t FIX_0_71414 = 46802;
constexpr int32_t FIX_1_40200 = 91881;
constexpr int32_t FIX_1_77200 = 116130;

// A row of YCbCr (JFIF, 0 to 255) to interleaved RGB, uint8 [columns][3], mirrored left to right if `mirrored`:
//     R = Y + 1.402 (Cr - 128), G = Y - 0.34414 (Cb - 128) - 0.71414 (Cr - 128), B = Y + 1.772 (Cb - 128).
// `columns` is at least LANES.
inline void ycc_to_rgb(const uint8_t *luma, const uint8_t *cb, const uint8_t *cr, int64_t columns, bool mirrored,
                       uint8_t *out) {
    for (int64_t first = 0; first < columns; first += LANES) {
        const int64_t x = std::min(first, columns - LANES);  // the last vector may overlap the one before
        const Ints y = (widen(luma + x) << SCALEBITS) + ONE_HALF;
        const Ints blue = widen(cb + x) - CENTRE_CHROMA, red = widen(cr + x) - CENTRE_CHROMA;
        Bytes r = saturate((y + red * FIX_1_40200) >> SCALEBITS);
        Bytes g = saturate((y - blue * FIX_0_34414 - red * FIX_0_71414) >> SCALEBITS);
        Bytes b = saturate((y + blue * FIX_1_77200) >> SCALEBITS);
        if (mirrored) r = reversed(r), g = reversed(g), b = reversed(b);
        store_interleaved(out + 3 * (mirrored ? columns - LANES - x : x), r, g, b);
    }
}

}  // namespace
