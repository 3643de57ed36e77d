// Pillow's bicubic resize of 8-bit images (src/libImaging/Resample.c), to the last bit: antialiased, weights of 22
// bits, first along the rows and rounded, then along the columns.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "vector.h"

namespace {

constexpr int PRECISION = 32 - 8 - 2;  // bits of the weights behind the point
constexpr int64_t TOGETHER = 4;        // vectors of an output row that are summed side by side

// For each output pixel of an axis: the first input pixel it is made of, and the weights of that and of the next. All
// have `count` weights, some of them 0 at the end: loops of one length are foreseen by the processor.
struct Taps {
    std::vector<int32_t> first, weights;
    int32_t count = 0, end = 0;  // `end` is behind the last input pixel that has a weight

    const int32_t *weights_of(int64_t at) const { return weights.data() + at * count; }
    int32_t begin() const { return first.front(); }
};

inline double bicubic(double x) {
    constexpr double a = -0.5;
    x = std::fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

// From the `length` pixels of an axis, of which those between `from` and `to` are wanted, to `size` pixels.
inline void find_taps(Taps &taps, int64_t length, float from, float to, int64_t size) {
    const double scale = double(to - from) / double(size), wide = std::max(scale, 1.0), support = 2.0 * wide;
    taps.count = int32_t(std::ceil(support)) * 2 + 1;
    taps.first.resize(size);
    taps.weights.assign(size * taps.count, 0);
    std::vector<double> weights(taps.count);
    int most = 0;
    for (int64_t at = 0; at < size; at++) {
        const double centre = from + (double(at) + 0.5) * scale, narrow = 1.0 / wide;
        const int first = std::max(int(centre - support + 0.5), 0);
        const int count = std::min(int(centre + support + 0.5), int(length)) - first;
        double sum = 0.0;
        for (int i = 0; i < count; i++) sum += weights[i] = bicubic((i + first - centre + 0.5) * narrow);
        for (int i = 0; i < count; i++) {
            const double weight = (sum != 0.0 ? weights[i] / sum : weights[i]) * (1 << PRECISION);
            taps.weights[at * taps.count + i] = int32_t(weight < 0 ? weight - 0.5 : weight + 0.5);
        }
        taps.first[at] = first;
        taps.end = first + count;
        most = std::max(most, count);
    }
    for (int64_t at = 0; at < size; at++)
        std::copy_n(&taps.weights[at * taps.count], most, &taps.weights[at * most]);
    taps.count = most;
}

// Sixteen rows at a time, with rows and columns changed so that a vector is one column of them: sums over columns are
// then the same work as sums over rows.
struct AlongRows {
    const Taps &taps;
    const int64_t size, columns;         // bytes in a row of the output, and of the input that it needs
    std::vector<uint8_t> before, after;  // [columns][16], [size][16]

    AlongRows(const Taps &taps)
        : taps(taps), size(3 * taps.first.size()), columns(3 * (taps.end - taps.begin())),
          before((columns + LANES + 3 * taps.count) * LANES), after((size + LANES) * LANES) {}

    // `from` are 16 rows, from their first needed byte on; `to` are 16 rows with room for 15 bytes more than `size`.
    void operator()(const uint8_t *const from[LANES], uint8_t *to, int64_t stride) {
        Bytes block[LANES];
        for (int64_t column = 0; column < columns; column += LANES) {
            for (int row = 0; row < LANES; row++) {
                if (column + LANES <= columns) {
                    block[row] = load(from[row] + column);
                } else {
                    block[row] = Bytes{};
                    std::memcpy(&block[row], from[row] + column, columns - column);
                }
            }
            transpose(block);
            for (int row = 0; row < LANES; row++) store(&before[(column + row) * LANES], block[row]);
        }
        for (int64_t x = 0; x < size / 3; x++) {
            const uint8_t *in = &before[3 * LANES * (taps.first[x] - taps.begin())];
            const int32_t *weights = taps.weights_of(x);
            Ints sums[3];
            for (Ints &sum : sums) sum = Ints{} + (1 << (PRECISION - 1));
            for (int i = 0; i < taps.count; i++, in += 3 * LANES)
                for (int c = 0; c < 3; c++) sums[c] += widen(in + c * LANES) * weights[i];
            for (int c = 0; c < 3; c++) store(&after[(3 * x + c) * LANES], clipped(sums[c] >> PRECISION));
        }
        for (int64_t column = 0; column < size; column += LANES) {
            for (int row = 0; row < LANES; row++) block[row] = load(&after[(column + row) * LANES]);
            transpose(block);
            for (int row = 0; row < LANES; row++) store(to + row * stride + column, block[row]);
        }
    }
};

// One output row as the weighted sum of `count` rows. Rows have whole vectors, `vectors` of them.
inline void along_columns(const uint8_t *from, int64_t stride, const int32_t *weights, int count, int64_t vectors,
                          uint8_t *to) {
    for (int64_t at = 0; at < vectors * LANES; at += TOGETHER * LANES) {
        Ints sums[TOGETHER];
        for (Ints &sum : sums) sum = Ints{} + (1 << (PRECISION - 1));
        for (int i = 0; i < count; i++)
            for (int v = 0; v < TOGETHER; v++) sums[v] += widen(from + i * stride + at + v * LANES) * weights[i];
        for (int v = 0; v < TOGETHER; v++) store(to + at + v * LANES, clipped(sums[v] >> PRECISION));
    }
}

// `image` is [height][width][3]; the box from (left, top) to (right, bottom) becomes `out`, [size][size][3].
inline void resize(const uint8_t *image, int64_t height, int64_t width, const float box[4], int64_t size,
                   uint8_t *out) {
    Taps across, down;
    find_taps(across, width, box[0], box[2], size);
    find_taps(down, height, box[1], box[3], size);
    const int64_t vectors = (3 * size + TOGETHER * LANES - 1) / (TOGETHER * LANES) * TOGETHER, stride = vectors * LANES;
    const int64_t rows = down.end - down.begin();
    static thread_local std::vector<uint8_t> between, row;
    between.resize((rows + LANES + down.count) * stride);
    row.resize(stride);
    AlongRows along_rows(across);
    for (int64_t first = 0; first < rows; first += LANES) {
        const uint8_t *from[LANES];
        for (int i = 0; i < LANES; i++) {
            const int64_t y = down.begin() + std::min(first + i, rows - 1);  // the last row again and again
            from[i] = image + 3 * (y * width + across.begin());
        }
        along_rows(from, &between[first * stride], stride);
    }
    for (int64_t y = 0; y < size; y++) {
        const uint8_t *from = &between[(down.first[y] - down.begin()) * stride];
        along_columns(from, stride, down.weights_of(y), down.count, vectors, row.data());
        std::memcpy(out + 3 * y * size, row.data(), 3 * size);
    }
}

}  // namespace
