// Antialiased bicubic resampling of 8-bit RGB, to the same pixels as Pillow's BICUBIC (Resample.c).
//
// Separable: along rows first, rounded to 8 bits, and then along columns. An output pixel at position i of an axis is
//
//     sum_x w(x) in[x] / sum_x w(x),    w(x) = bicubic((x + 0.5 - centre) / filterscale),
//     centre = from + (i + 0.5) * scale,    scale = input pixels per output pixel,    filterscale = max(scale, 1).
//
// The weights are integers with PRECISION_BITS fractional bits. Images are uint8 [height][width][3].
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "lanes.h"

namespace {

constexpr int PRECISION_BITS = 32 - 8 - 2;  // 8 for the result, 2 since weights may be negative or sum to more than 1
constexpr double BICUBIC_SUPPORT = 2.0;     // radius of the filter, in output pixels
constexpr int64_t VECTORS_PER_STEP = 4;     // of an output row, summed side by side

// Bicubic convolution with a = -0.5 (Keys 1981).
inline double bicubic(double x) {
    constexpr double a = -0.5;
    x = std::fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

// The filter along one axis: for each output pixel its first input pixel, and the weights of that and the next ones.
// All have `count` weights, padded with 0: loops of constant length are predicted.
struct Filter {
    std::vector<int32_t> first, weights;  // [size], [size][count]
    int32_t count = 0, end = 0;           // `end`: behind the last input pixel with a weight

    // From `length` input pixels, of which `from` to `to` are resampled, to `size` output pixels.
    Filter(int64_t length, float from, float to, int64_t size);

    int64_t size() const { return first.size(); }
    int32_t begin() const { return first.front(); }
    const int32_t *weights_of(int64_t pixel) const { return weights.data() + pixel * count; }
};

// Pillow's precompute_coeffs and normalize_coeffs_8bpc: the operations and their order decide about the last bit.
inline Filter::Filter(int64_t length, float from, float to, int64_t size) : first(size) {
    const double scale = double(to - from) / double(size), filterscale = std::max(scale, 1.0);
    const double support = BICUBIC_SUPPORT * filterscale, inverse = 1.0 / filterscale;
    const int32_t most = int32_t(std::ceil(support)) * 2 + 1;
    weights.assign(size * most, 0);
    std::vector<double> exact(most);
    for (int64_t i = 0; i < size; i++) {
        const double centre = from + (double(i) + 0.5) * scale;
        const int start = std::max(int(centre - support + 0.5), 0);
        const int number = std::min(int(centre + support + 0.5), int(length)) - start;
        double sum = 0.0;
        for (int k = 0; k < number; k++) sum += exact[k] = bicubic((k + start - centre + 0.5) * inverse);
        for (int k = 0; k < number; k++) {
            const double weight = (sum != 0.0 ? exact[k] / sum : exact[k]) * (1 << PRECISION_BITS);
            weights[i * most + k] = int32_t(weight < 0 ? weight - 0.5 : weight + 0.5);
        }
        first[i] = start;
        end = start + number;
        count = std::max(count, number);
    }
    for (int64_t i = 0; i < size; i++) std::copy_n(&weights[i * most], count, &weights[i * count]);
}

inline Ints rounding() { return Ints{} + (1 << (PRECISION_BITS - 1)); }

// Resamples sixteen rows at a time. They are transposed, so that a vector holds one column of them and sums go over
// vectors, as in the vertical pass.
class HorizontalPass {
   public:
    explicit HorizontalPass(const Filter &filter)
        : filter(filter), out_bytes(3 * filter.size()), in_bytes(3 * (filter.end - filter.begin())),
          in((in_bytes + LANES + 3 * filter.count) * LANES), out((out_bytes + LANES) * LANES) {}

    // From sixteen rows, given from the first pixel with a weight on, to sixteen rows with room for whole vectors.
    void run(const uint8_t *const rows[LANES], uint8_t *to, int64_t stride) {
        gather(rows);
        for (int64_t x = 0; x < filter.size(); x++) {
            const uint8_t *pixel = &in[3 * LANES * (filter.first[x] - filter.begin())];
            const int32_t *weights = filter.weights_of(x);
            Ints sums[3] = {rounding(), rounding(), rounding()};
            for (int k = 0; k < filter.count; k++, pixel += 3 * LANES)
                for (int c = 0; c < 3; c++) sums[c] += widen(pixel + c * LANES) * weights[k];
            for (int c = 0; c < 3; c++) store(&out[(3 * x + c) * LANES], saturate(sums[c] >> PRECISION_BITS));
        }
        for (int64_t byte = 0; byte < out_bytes; byte += LANES) {
            Bytes block[LANES];
            for (int i = 0; i < LANES; i++) block[i] = load(&out[(byte + i) * LANES]);
            transpose(block);
            for (int row = 0; row < LANES; row++) store(to + row * stride + byte, block[row]);
        }
    }

   private:
    const Filter &filter;
    const int64_t out_bytes, in_bytes;  // of a row
    std::vector<uint8_t> in, out;       // [in_bytes][16], [out_bytes][16]

    void gather(const uint8_t *const rows[LANES]) {
        for (int64_t byte = 0; byte < in_bytes; byte += LANES) {
            Bytes block[LANES] = {};
            const int64_t left = in_bytes - byte;
            for (int row = 0; row < LANES; row++) {
                if (left >= LANES)
                    block[row] = load(rows[row] + byte);
                else
                    std::memcpy(&block[row], rows[row] + byte, left);
            }
            transpose(block);
            for (int i = 0; i < LANES; i++) store(&in[(byte + i) * LANES], block[i]);
        }
    }
};

// One output row as the weighted sum of `count` rows of `vectors` whole vectors.
inline void vertical_pass(const uint8_t *rows, int64_t stride, const int32_t *weights, int count, int64_t vectors,
                          uint8_t *to) {
    for (int64_t byte = 0; byte < vectors * LANES; byte += VECTORS_PER_STEP * LANES) {
        Ints sums[VECTORS_PER_STEP];
        for (Ints &sum : sums) sum = rounding();
        for (int k = 0; k < count; k++)
            for (int v = 0; v < VECTORS_PER_STEP; v++)
                sums[v] += widen(rows + k * stride + byte + v * LANES) * weights[k];
        for (int v = 0; v < VECTORS_PER_STEP; v++) store(to + byte + v * LANES, saturate(sums[v] >> PRECISION_BITS));
    }
}

// The part of `image`, [height][width][3], in `box` (left, top, right, bottom) to `out`, [size][size][3].
inline void resize(const uint8_t *image, int64_t height, int64_t width, const float box[4], int64_t size,
                   uint8_t *out) {
    const Filter horizontal(width, box[0], box[2], size), vertical(height, box[1], box[3], size);
    const int64_t step = VECTORS_PER_STEP * LANES, stride = (3 * size + step - 1) / step * step;
    const int64_t rows = vertical.end - vertical.begin();
    static thread_local std::vector<uint8_t> narrowed, row;  // [rows][stride], [stride]
    narrowed.resize((rows + LANES + vertical.count) * stride);
    row.resize(stride);
    HorizontalPass horizontal_pass(horizontal);
    for (int64_t first = 0; first < rows; first += LANES) {
        const uint8_t *from[LANES];
        for (int i = 0; i < LANES; i++) {
            const int64_t y = vertical.begin() + std::min(first + i, rows - 1);  // pads by repeating the last row
            from[i] = image + 3 * (y * width + horizontal.begin());
        }
        horizontal_pass.run(from, &narrowed[first * stride], stride);
    }
    for (int64_t y = 0; y < size; y++) {
        const uint8_t *from = &narrowed[(vertical.first[y] - vertical.begin()) * stride];
        vertical_pass(from, stride, vertical.weights_of(y), vertical.count, stride / LANES, row.data());
        std::memcpy(out + 3 * y * size, row.data(), 3 * size);
    }
}

}  // namespace
