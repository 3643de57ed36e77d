// Gradients of weights and biases of a convolution over few channels, float32: conv1.
//
// One row of a kernel covers `size * channels` values that lie together in memory. The products of eleven of them with
// 32 output channels are summed in registers, along some lines of the output.
#pragma once

#include <algorithm>
#include <vector>

#include "vector.h"

namespace {

struct First {
    int64_t height, width, channels, out_height, out_width, out_channels, size, stride;
};

#ifdef ALEXNET_AVX512
constexpr int64_t LINES = 5;  // lines of the output at a time: so many stay in cache

// sums[i][o] += sum over `lines` lines of x[stride * column + i] * g[column][o], for ROWS values i and
// COLUMNS * 16 output channels o.
template <int ROWS, int COLUMNS>
inline void line_products(const float *x, const float *g, float *sums, int64_t lines, const First &f) {
    const int64_t wide = f.out_channels, step = f.stride * f.channels;
    __m512 total[ROWS][COLUMNS];
    for (int i = 0; i < ROWS; i++)
        for (int o = 0; o < COLUMNS; o++) total[i][o] = _mm512_loadu_ps(sums + i * wide + o * LANES);
    for (int64_t line = 0; line < lines; line++) {
        const float *values = x + line * f.stride * f.width * f.channels, *gradient = g + line * f.out_width * wide;
        for (int64_t column = 0; column < f.out_width; column++, values += step, gradient += wide) {
            __m512 slope[COLUMNS];
            for (int o = 0; o < COLUMNS; o++) slope[o] = _mm512_loadu_ps(gradient + o * LANES);
            for (int i = 0; i < ROWS; i++) {
                const __m512 value = _mm512_set1_ps(values[i]);
                for (int o = 0; o < COLUMNS; o++) total[i][o] = _mm512_fmadd_ps(value, slope[o], total[i][o]);
            }
        }
    }
    for (int i = 0; i < ROWS; i++)
        for (int o = 0; o < COLUMNS; o++) _mm512_storeu_ps(sums + i * wide + o * LANES, total[i][o]);
}

template <int COLUMNS>
void row_products(const float *x, const float *g, float *sums, int64_t lines, const First &f) {
    constexpr int ROWS = 11;
    const int64_t run = f.size * f.channels;
    int64_t i = 0;
    for (; i + ROWS <= run; i += ROWS)
        line_products<ROWS, COLUMNS>(x + i, g, sums + i * f.out_channels, lines, f);
    for (; i < run; i++) line_products<1, COLUMNS>(x + i, g, sums + i * f.out_channels, lines, f);
}

// Adds one picture's share to sums[size][size * channels][out_channels].
void picture_products(const float *x, const float *g, float *sums, const First &f) {
    const int64_t run = f.size * f.channels;
    for (int64_t line = 0; line < f.out_height; line += LINES) {
        const int64_t lines = std::min(LINES, f.out_height - line);
        for (int64_t row = 0; row < f.size; row++) {
            const float *values = x + (line * f.stride + row) * f.width * f.channels;
            const float *gradient = g + line * f.out_width * f.out_channels;
            float *into = sums + row * run * f.out_channels;
            int64_t o = 0;
            for (; o + 2 * LANES <= f.out_channels; o += 2 * LANES)
                row_products<2>(values, gradient + o, into + o, lines, f);
            if (o < f.out_channels) row_products<1>(values, gradient + o, into + o, lines, f);
        }
    }
}
#endif

// Gradients of weight[out_channels][size][size][channels] and bias[out_channels]: true where this processor has the
// vectors for it and the output channels fill them. Pictures are summed one by one and then together, so that
// rounding does not grow with the batch.
inline bool first_gradient(const float *x, const float *g, float *weight, float *bias, int64_t batch, const First &f,
                           int threads) {
#ifdef ALEXNET_AVX512
    if (f.out_channels % LANES) return false;
    const int64_t values = f.size * f.size * f.channels, wide = f.out_channels, count = (values + 1) * wide;
    std::vector<float> totals(count * threads);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t part = 0; part < threads; part++) {
        float *total = totals.data() + part * count;
        std::vector<float> sums(count);
        for (int64_t i = batch * part / threads; i < batch * (part + 1) / threads; i++) {
            const float *gradient = g + i * f.out_height * f.out_width * wide;
            std::fill(sums.begin(), sums.end(), 0.0f);
            picture_products(x + i * f.height * f.width * f.channels, gradient, sums.data(), f);
            float *into = sums.data() + values * wide;
            for (int64_t at = 0; at < f.out_height * f.out_width * wide; at += wide)
                for (int64_t o = 0; o < wide; o++) into[o] += gradient[at + o];
            for (int64_t at = 0; at < count; at++) total[at] += sums[at];
        }
    }
    for (int64_t at = 0; at <= values; at++)
        for (int64_t o = 0; o < wide; o++) {
            float total = 0;
            for (int part = 0; part < threads; part++) total += totals[part * count + at * wide + o];
            (at < values ? weight[o * values + at] : bias[o]) = total;
        }
    return true;
#else
    return false;
#endif
}

}  // namespace
