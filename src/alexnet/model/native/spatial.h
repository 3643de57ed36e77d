// Normalisation within each map: y = x s ** -0.75, s = k + alpha * sum of x ** 2 over the square window of the pixel,
// clipped at the map's edges. Some channels of one picture at a time, in buffers that stay in cache.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "lrn.h"

namespace {

struct Map {
    int64_t height, width, channels, half;  // half: neighbours on each side
    float alpha, k;
};

constexpr int64_t STRIP = 32;  // channels handled together

// Some channels of `pixels` pixels: [pixels, STRIP].
struct Strip {
    std::vector<float> values;
    explicit Strip(int64_t pixels) : values(pixels * STRIP) {}
    float *operator[](int64_t pixel) { return &values[pixel * STRIP]; }
};

// to[c] = the sum of `count` strips, each `step` pixels after the one before.
inline void add_up(float *__restrict to, const float *__restrict from, int64_t count, int64_t step) {
    step *= STRIP;
    if (count == 5) {
        for (int64_t c = 0; c < STRIP; c++)
            to[c] = from[c] + from[step + c] + from[2 * step + c] + from[3 * step + c] + from[4 * step + c];
        return;
    }
    for (int64_t c = 0; c < STRIP; c++) to[c] = from[c];
    for (int64_t i = 1; i < count; i++)
        for (int64_t c = 0; c < STRIP; c++) to[c] += from[i * step + c];
}

// Calls use(pixel, sums), pixel by pixel, with the sums of `in` over the pixel's window: first down the columns, then
// along the row.
template <class Use> void window_sums(Strip &in, Strip &line, const Map &m, Use use) {
    alignas(64) float sums[STRIP];
    for (int64_t h = 0; h < m.height; h++) {
        const int64_t top = std::max<int64_t>(h - m.half, 0), bottom = std::min(h + m.half, m.height - 1);
        for (int64_t w = 0; w < m.width; w++) add_up(line[w], in[top * m.width + w], bottom - top + 1, m.width);
        for (int64_t w = 0; w < m.width; w++) {
            const int64_t left = std::max<int64_t>(w - m.half, 0), right = std::min(w + m.half, m.width - 1);
            add_up(sums, line[left], right - left + 1, 1);
            use(h * m.width + w, sums);
        }
    }
}

// The squares of `count` channels from x on; zeros in the rest of the strip.
template <class T> void squares_of(const T *x, Strip &squares, const Map &m, int64_t count) {
    for (int64_t pixel = 0; pixel < m.height * m.width; pixel++) {
        const T *from = x + pixel * m.channels;
        float *to = squares[pixel];
        for (int64_t c = 0; c < count; c++) to[c] = widen(from[c]) * widen(from[c]);
        std::fill(to + count, to + STRIP, 0.0f);
    }
}

// Calls work(start, count) for each strip of each picture: where it begins in memory, and its channels.
template <class Work> void for_strips(int64_t batch, const Map &m, Work work) {
    const int64_t strips = (m.channels + STRIP - 1) / STRIP;
#pragma omp for schedule(static)
    for (int64_t part = 0; part < batch * strips; part++) {
        const int64_t first = part % strips * STRIP;
        work(part / strips * m.height * m.width * m.channels + first, std::min(STRIP, m.channels - first));
    }
}

// The channels of one pixel, given the sums over its window: y = x s ** -0.75.
template <class T> void normalise(const T *x, const float *sums, T *y, int64_t count, const Map &m) {
    int64_t c = 0;
#ifdef ALEXNET_AVX512
    for (; c < count; c += LANES) {
        const Part lanes(count - c);
        const __m512 s = _mm512_fmadd_ps(_mm512_set1_ps(m.alpha), _mm512_loadu_ps(sums + c), _mm512_set1_ps(m.k));
        store(y + c, lanes, _mm512_mul_ps(load(x + c, lanes), power(s)));
    }
#endif
    for (; c < count; c++) {
        const float root = 1 / std::sqrt(m.k + m.alpha * sums[c]);
        narrow(widen(x[c]) * (root * std::sqrt(root)), y[c]);
    }
}

// direct = g s ** -0.75 and share = g x s ** -1.75.
template <class T>
void slopes(const T *x, const T *g, const float *sums, float *direct, float *share, int64_t count, const Map &m) {
    int64_t c = 0;
#ifdef ALEXNET_AVX512
    for (; c < count; c += LANES) {
        const Part lanes(count - c);
        const __m512 s = _mm512_fmadd_ps(_mm512_set1_ps(m.alpha), _mm512_loadu_ps(sums + c), _mm512_set1_ps(m.k));
        const __m512 t = power(s), slope = _mm512_mul_ps(load(g + c, lanes), t);
        const __m512 half = _mm512_mul_ps(s, _mm512_mul_ps(t, t));  // s ** -0.5
        _mm512_storeu_ps(direct + c, slope);
        _mm512_storeu_ps(share + c, _mm512_mul_ps(_mm512_mul_ps(slope, load(x + c, lanes)), _mm512_mul_ps(half, half)));
    }
#endif
    for (; c < count; c++) {
        const float root = 1 / std::sqrt(m.k + m.alpha * sums[c]);
        direct[c] = widen(g[c]) * (root * std::sqrt(root));
        share[c] = direct[c] * widen(x[c]) * (root * root);
    }
}

template <class T> void spatial_norm(const T *x, T *y, int64_t batch, const Map &m, int threads) {
#pragma omp parallel num_threads(threads)
    {
        Strip squares(m.height * m.width), line(m.width);
        for_strips(batch, m, [&](int64_t start, int64_t count) {
            squares_of(x + start, squares, m, count);
            window_sums(squares, line, m, [&](int64_t pixel, const float *sums) {
                const int64_t at = start + pixel * m.channels;
                normalise(x + at, sums, y + at, count, m);
            });
        });
    }
}

// dx_j = g_j s_j ** -b - 2 a b x_j sum of g_i x_i s_i ** (-b - 1) over the pixels i whose window holds j, which are
// those in the window of j.
template <class T>
void spatial_norm_gradient(const T *x, const T *g, T *dx, int64_t batch, const Map &m, int threads) {
#pragma omp parallel num_threads(threads)
    {
        const int64_t pixels = m.height * m.width;
        Strip squares(pixels), shares(pixels), direct(pixels), line(m.width);
        for_strips(batch, m, [&](int64_t start, int64_t count) {
            squares_of(x + start, squares, m, count);
            window_sums(squares, line, m, [&](int64_t pixel, const float *sums) {
                const int64_t at = start + pixel * m.channels;
                slopes(x + at, g + at, sums, direct[pixel], shares[pixel], count, m);
            });
            window_sums(shares, line, m, [&](int64_t pixel, const float *sums) {
                const T *from = x + start + pixel * m.channels;
                T *to = dx + start + pixel * m.channels;
                const float *straight = direct[pixel], factor = 1.5f * m.alpha;
                for (int64_t c = 0; c < count; c++) narrow(straight[c] - factor * widen(from[c]) * sums[c], to[c]);
            });
        });
    }
}

}  // namespace
