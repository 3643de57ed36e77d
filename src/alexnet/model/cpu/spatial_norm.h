// Normalisation within each map: y = x s ** -0.75, s = k + alpha * sum of x ** 2 over the square window of the pixel,
// clipped at the map's edges. Some channels of one image at a time, in buffers that stay in cache.
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

constexpr int64_t STRIP = 64;  // channels handled together
constexpr int64_t AHEAD = 2;   // rows that are fetched before they are needed

// Some channels of the last `count` rows of a map: [count, width, STRIP].
struct Rows {
    int64_t count, width;
    Buffer<float> values;
    Rows(int64_t count, int64_t width) : count(count), width(width), values(count * width * STRIP) {}
    float *operator[](int64_t row) { return &values[row % count * width * STRIP]; }
};

typedef float Sixteen __attribute__((vector_size(64), may_alias));

// to[c] = the sum of `count` strips, which are at from(i).
template <class From> inline void add_up(float *to, int64_t count, From from) {
    const auto all = [&](int64_t count) {
        for (int64_t c = 0; c < STRIP; c += 16) {
            Sixteen sum = *(const Sixteen *)(from(0) + c);
            for (int64_t i = 1; i < count; i++) sum += *(const Sixteen *)(from(i) + c);
            *(Sixteen *)(to + c) = sum;
        }
    };
    count == 5 ? all(5) : all(count);  // unrolled
}

// Sums over the windows of the pixels of a row: first down the columns, then along the row.
struct Sums {
    const Map &m;
    Rows line;
    std::vector<const float *> above;
    explicit Sums(const Map &m) : m(m), line(1, m.width), above(2 * m.half + 1) {}

    // Calls use(w, sums) for each pixel of `row`.
    template <class Use> void of_row(Rows &in, int64_t row, Use use) {
        const int64_t top = std::max<int64_t>(row - m.half, 0), rows = std::min(row + m.half, m.height - 1) - top + 1;
        for (int64_t i = 0; i < rows; i++) above[i] = in[top + i];
        for (int64_t w = 0; w < m.width; w++)
            add_up(line[0] + w * STRIP, rows, [&](int64_t i) { return above[i] + w * STRIP; });
        alignas(64) float sums[STRIP];
        for (int64_t w = 0; w < m.width; w++) {
            const int64_t left = std::max<int64_t>(w - m.half, 0), columns = std::min(w + m.half, m.width - 1) - left + 1;
            add_up(sums, columns, [&](int64_t i) { return line[0] + (left + i) * STRIP; });
            use(w, sums);
        }
    }
};

// Fetches the strip of a pixel: the processor does not guess which comes next.
template <class T> inline void fetch(const T *strip) {
    for (int64_t c = 0; c < STRIP; c += 64 / sizeof(T)) __builtin_prefetch(strip + c);
}

// The squares of `count` channels of a row of pixels from x on; zeros in the rest of the strip.
template <class T> void squares_of(const T *x, float *squares, const Map &m, int64_t count) {
    for (int64_t w = 0; w < m.width; w++, x += m.channels, squares += STRIP) {
        fetch(x + AHEAD * m.width * m.channels);
        int64_t c = 0;
#ifdef ALEXNET_AVX512
        for (; c < STRIP; c += LANES) {
            const __m512 value = load(x + c, Part(std::max<int64_t>(0, count - c)));
            _mm512_store_ps(squares + c, _mm512_mul_ps(value, value));
        }
#endif
        for (; c < STRIP; c++) squares[c] = c < count ? widen(x[c]) * widen(x[c]) : 0.0f;
    }
}

// Calls work(start, count) for each strip of each image: where it begins in memory, and its channels.
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

// dx = direct - 2 a b x sums.
template <class T>
void slope(const T *x, const float *direct, const float *sums, T *dx, int64_t count, const Map &m) {
    const float factor = -1.5f * m.alpha;
    int64_t c = 0;
#ifdef ALEXNET_AVX512
    for (; c < count; c += LANES) {
        const Part lanes(count - c);
        const __m512 part = _mm512_mul_ps(_mm512_set1_ps(factor), load(x + c, lanes));
        store(dx + c, lanes, _mm512_fmadd_ps(part, _mm512_loadu_ps(sums + c), _mm512_loadu_ps(direct + c)));
    }
#endif
    for (; c < count; c++) narrow(direct[c] + factor * widen(x[c]) * sums[c], dx[c]);
}

template <class T>
void spatial_norm(const T *x, T *y, int64_t batch, int64_t height, int64_t width, int64_t channels, int64_t half, float alpha, float k, int threads) {
    const Map m{height, width, channels, half, alpha, k};
    const int64_t line = m.width * m.channels;
#pragma omp parallel num_threads(threads)
    {
        Rows squares(2 * m.half + 1, m.width);
        Sums window(m);
        for_strips(batch, m, [&](int64_t start, int64_t count) {
            for (int64_t h = 0; h < m.height + m.half; h++) {
                if (h < m.height) squares_of(x + start + h * line, squares[h], m, count);
                const int64_t row = h - m.half;  // whose windows are complete
                if (row >= 0) window.of_row(squares, row, [&](int64_t w, const float *sums) {
                    const int64_t at = start + row * line + w * m.channels;
                    fetch(y + at + AHEAD * line);
                    normalise(x + at, sums, y + at, count, m);
                });
            }
        });
    }
}

// dx_j = g_j s_j ** -b - 2 a b x_j sum of g_i x_i s_i ** (-b - 1) over the pixels i whose window holds j, which are
// those in the window of j.
template <class T>
void spatial_norm_gradient(const T *x, const T *g, T *dx, int64_t batch, int64_t height, int64_t width, int64_t channels, int64_t half, float alpha, float k, int threads) {
    const Map m{height, width, channels, half, alpha, k};
    const int64_t line = m.width * m.channels, rows = 2 * m.half + 1;
#pragma omp parallel num_threads(threads)
    {
        Rows squares(rows, m.width), shares(rows, m.width), direct(rows, m.width);
        Sums window(m);
        for_strips(batch, m, [&](int64_t start, int64_t count) {
            for (int64_t h = 0; h < m.height + 2 * m.half; h++) {
                if (h < m.height) squares_of(x + start + h * line, squares[h], m, count);
                const int64_t row = h - m.half, done = row - m.half;
                if (row >= 0 && row < m.height) window.of_row(squares, row, [&](int64_t w, const float *sums) {
                    const int64_t at = start + row * line + w * m.channels;
                    fetch(g + at + AHEAD * line);
                    slopes(x + at, g + at, sums, direct[row] + w * STRIP, shares[row] + w * STRIP, count, m);
                });
                if (done >= 0) window.of_row(shares, done, [&](int64_t w, const float *sums) {
                    const int64_t at = start + done * line + w * m.channels;
                    fetch(dx + at + AHEAD * line);
                    slope(x + at, direct[done] + w * STRIP, sums, dx + at, count, m);
                });
            }
        });
    }
}

}  // namespace
