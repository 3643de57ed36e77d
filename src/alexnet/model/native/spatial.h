// Normalisation within each map: y = x s ** -0.75, s = k + alpha * sum of x ** 2 over the square window of the pixel,
// clipped at the map's edges. Some channels of one picture at a time, in buffers that stay in cache.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "vector.h"

namespace {

struct Map {
    int64_t height, width, channels, half;  // half: neighbours on each side
    float alpha, k;
};

constexpr int64_t STRIP = 64;  // channels handled together

// Some channels of a picture, in order: [height, width, STRIP].
struct Strip {
    std::vector<float> values;
    explicit Strip(const Map &m) : values(m.height * m.width * STRIP) {}
    float *at(const Map &m, int64_t h, int64_t w) { return &values[(h * m.width + w) * STRIP]; }
};

// Adds up `in` over the window of every pixel into `out`, first down the columns into `lines`, then along the rows.
inline void window_sums(Strip &in, Strip &lines, Strip &out, const Map &m) {
    const auto add = [](float *to, const float *from, bool first) {
        if (first)
            for (int64_t c = 0; c < STRIP; c++) to[c] = from[c];
        else
            for (int64_t c = 0; c < STRIP; c++) to[c] += from[c];
    };
    for (int64_t h = 0; h < m.height; h++) {
        const int64_t top = std::max<int64_t>(h - m.half, 0), bottom = std::min(h + m.half, m.height - 1);
        for (int64_t w = 0; w < m.width; w++)
            for (int64_t row = top; row <= bottom; row++) add(lines.at(m, h, w), in.at(m, row, w), row == top);
        for (int64_t w = 0; w < m.width; w++) {
            const int64_t left = std::max<int64_t>(w - m.half, 0), right = std::min(w + m.half, m.width - 1);
            for (int64_t column = left; column <= right; column++)
                add(out.at(m, h, w), lines.at(m, h, column), column == left);
        }
    }
}

// The squares of `count` channels from x on; zeros in the rest of the strip.
template <class T> void squares_of(const T *x, Strip &squares, const Map &m, int64_t count) {
    for (int64_t pixel = 0; pixel < m.height * m.width; pixel++) {
        const T *from = x + pixel * m.channels;
        float *to = &squares.values[pixel * STRIP];
        for (int64_t c = 0; c < count; c++) to[c] = widen(from[c]) * widen(from[c]);
        std::fill(to + count, to + STRIP, 0.0f);
    }
}

template <class T> void spatial_norm(const T *x, T *y, int64_t batch, const Map &m, int threads) {
    const int64_t strips = (m.channels + STRIP - 1) / STRIP, pixels = m.height * m.width;
#pragma omp parallel num_threads(threads)
    {
        Strip squares(m), lines(m), sums(m);
#pragma omp for schedule(static)
        for (int64_t part = 0; part < batch * strips; part++) {
            const int64_t first = part % strips * STRIP, count = std::min(STRIP, m.channels - first);
            const int64_t start = part / strips * pixels * m.channels + first;
            squares_of(x + start, squares, m, count);
            window_sums(squares, lines, sums, m);
            for (int64_t pixel = 0; pixel < pixels; pixel++) {
                const T *from = x + start + pixel * m.channels;
                T *to = y + start + pixel * m.channels;
                const float *sum = &sums.values[pixel * STRIP];
                for (int64_t c = 0; c < count; c++) {
                    const float root = 1 / std::sqrt(m.k + m.alpha * sum[c]);
                    narrow(widen(from[c]) * (root * std::sqrt(root)), to[c]);
                }
            }
        }
    }
}

// dx_j = g_j s_j ** -b - 2 a b x_j sum of g_i x_i s_i ** (-b - 1) over the pixels i whose window holds j, which are
// those in the window of j.
template <class T>
void spatial_norm_gradient(const T *x, const T *g, T *dx, int64_t batch, const Map &m, int threads) {
    const int64_t strips = (m.channels + STRIP - 1) / STRIP, pixels = m.height * m.width;
#pragma omp parallel num_threads(threads)
    {
        Strip squares(m), lines(m), sums(m), direct(m);
#pragma omp for schedule(static)
        for (int64_t part = 0; part < batch * strips; part++) {
            const int64_t first = part % strips * STRIP, count = std::min(STRIP, m.channels - first);
            const int64_t start = part / strips * pixels * m.channels + first;
            squares_of(x + start, squares, m, count);
            window_sums(squares, lines, sums, m);
            Strip &shares = squares;  // the squares are needed no more; their zeros stay zeros
            for (int64_t pixel = 0; pixel < pixels; pixel++) {
                const T *from = x + start + pixel * m.channels, *slope = g + start + pixel * m.channels;
                const float *sum = &sums.values[pixel * STRIP];
                float *straight = &direct.values[pixel * STRIP], *share = &shares.values[pixel * STRIP];
                for (int64_t c = 0; c < count; c++) {
                    const float root = 1 / std::sqrt(m.k + m.alpha * sum[c]);
                    straight[c] = widen(slope[c]) * (root * std::sqrt(root));
                    share[c] = straight[c] * widen(from[c]) * (root * root);
                }
            }
            window_sums(shares, lines, sums, m);
            for (int64_t pixel = 0; pixel < pixels; pixel++) {
                const T *from = x + start + pixel * m.channels;
                T *to = dx + start + pixel * m.channels;
                const float *sum = &sums.values[pixel * STRIP], *straight = &direct.values[pixel * STRIP];
                for (int64_t c = 0; c < count; c++)
                    narrow(straight[c] - 1.5f * m.alpha * widen(from[c]) * sum[c], to[c]);
            }
        }
    }
}

}  // namespace
