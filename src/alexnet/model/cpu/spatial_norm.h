// Normalisation within each map of x[batch][height][width][channels] (docs/specification.md, section 1):
//
//     y = x s ** -0.75,    s = k + alpha * sum of x ** 2 over the pixels around, `half` on each side, within the map
//     dx = g s ** -0.75 - 1.5 alpha x * sum of g x s ** -1.75 over the same pixels
//
// Some channels of one image at a time, in buffers that stay in cache: sums of squares down the columns, then along the
// rows.
#pragma once

#include <algorithm>
#include <vector>

#include "local.h"
#include "power.h"
#include "vector.h"

namespace {

struct SpatialNorm {
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

// Of the gradient.
struct ThreeRows {
    Rows squares, shares, direct;
    ThreeRows(int64_t count, int64_t width) : squares(count, width), shares(count, width), direct(count, width) {}
};

// to[c] = the sum of `count` strips, which are at from(i).
template <class From> inline void add_up(float *to, int64_t count, From from) {
    const auto all = [&](int64_t count) {
        for (int64_t c = 0; c < STRIP; c += WIDTH) {
            Floats sum = load(from(0) + c);
            for (int64_t i = 1; i < count; i++) sum += load(from(i) + c);
            store(to + c, sum);
        }
    };
    count == 5 ? all(5) : all(count);  // unrolled
}

// Sums over the windows of the pixels of a row: first down the columns, then along the row.
struct Sums {
    const SpatialNorm &m;
    Rows line;
    std::vector<const float *> above;
    explicit Sums(const SpatialNorm &m) : m(m), line(1, m.width), above(2 * m.half + 1) {}

    // Calls use(w, sums) for each pixel of `row`.
    template <class Use> void of_row(Rows &in, int64_t row, Use use) {
        const int64_t top = std::max<int64_t>(row - m.half, 0), rows = std::min(row + m.half, m.height - 1) - top + 1;
        for (int64_t i = 0; i < rows; i++) above[i] = in[top + i];
        for (int64_t w = 0; w < m.width; w++)
            add_up(line[0] + w * STRIP, rows, [&](int64_t i) { return above[i] + w * STRIP; });
        alignas(64) float sums[STRIP];
        for (int64_t w = 0; w < m.width; w++) {
            const int64_t left = std::max<int64_t>(w - m.half, 0),
                          columns = std::min(w + m.half, m.width - 1) - left + 1;
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
template <class T> void squares_of(const T *x, float *squares, const SpatialNorm &m, int64_t count) {
    for (int64_t w = 0; w < m.width; w++, x += m.channels, squares += STRIP) {
        fetch(x + AHEAD * m.width * m.channels);
        for (int64_t c = 0; c < STRIP; c += WIDTH) {
            const Floats value = load(x + c, Part(count - c));
            store(squares + c, value * value);
        }
    }
}

// Calls work(start, count) for each strip of each image: where it begins in memory, and its channels.
template <class Work> void for_strips(int64_t batch, const SpatialNorm &m, Work work) {
    const int64_t strips = (m.channels + STRIP - 1) / STRIP;
#pragma omp for schedule(static)
    for (int64_t part = 0; part < batch * strips; part++) {
        const int64_t first = part % strips * STRIP;
        work(part / strips * m.height * m.width * m.channels + first, std::min(STRIP, m.channels - first));
    }
}

// Of the channels of one pixel, given the sums of squares over its window: y = x s ** -0.75.
template <class T> void normalise(const T *x, const float *sums, T *y, int64_t count, const SpatialNorm &m) {
    for (int64_t c = 0; c < count; c += WIDTH) {
        const Part lanes(count - c);
        store(y + c, lanes, load(x + c, lanes) * power(m.alpha * load(sums + c) + m.k));
    }
}

// direct = g s ** -0.75 and share = g x s ** -1.75.
template <class T>
void slopes(const T *x, const T *g, const float *sums, float *direct, float *share, int64_t count,
            const SpatialNorm &m) {
    for (int64_t c = 0; c < count; c += WIDTH) {
        const Part lanes(count - c);
        const Floats s = m.alpha * load(sums + c) + m.k, t = power(s), root = inverse_root(s, t);
        const Floats slope = load(g + c, lanes) * t;
        store(direct + c, slope);
        store(share + c, (slope * load(x + c, lanes)) * (root * root));
    }
}

// dx = direct - 1.5 alpha x * sums of the shares.
template <class T>
void slope(const T *x, const float *direct, const float *sums, T *dx, int64_t count, const SpatialNorm &m) {
    const float factor = -1.5f * m.alpha;
    for (int64_t c = 0; c < count; c += WIDTH) {
        const Part lanes(count - c);
        store(dx + c, lanes, (factor * load(x + c, lanes)) * load(sums + c) + load(direct + c));
    }
}

template <class T>
void spatial_norm(const T *x, T *y, int64_t batch, int64_t height, int64_t width, int64_t channels, int64_t half,
                  float alpha, float k, int threads) {
    const SpatialNorm m{height, width, channels, half, alpha, k};
    const int64_t line = m.width * m.channels;
    Shortage shortage;
#pragma omp parallel num_threads(threads)
    {
        Local<Rows> own(shortage, 2 * m.half + 1, m.width);
        Local<Sums> window(shortage, m);
        for_strips(batch, m, [&](int64_t start, int64_t count) {
            if (!own || !window) return;
            Rows &squares = *own;
            for (int64_t h = 0; h < m.height + m.half; h++) {
                if (h < m.height) squares_of(x + start + h * line, squares[h], m, count);
                const int64_t row = h - m.half;  // whose windows are complete
                if (row >= 0)
                    window->of_row(squares, row, [&](int64_t w, const float *sums) {
                        const int64_t at = start + row * line + w * m.channels;
                        fetch(y + at + AHEAD * line);
                        normalise(x + at, sums, y + at, count, m);
                    });
            }
        });
    }
    shortage.check();
}

template <class T>
void spatial_norm_gradient(const T *x, const T *g, T *dx, int64_t batch, int64_t height, int64_t width,
                           int64_t channels, int64_t half, float alpha, float k, int threads) {
    const SpatialNorm m{height, width, channels, half, alpha, k};
    const int64_t line = m.width * m.channels, rows = 2 * m.half + 1;
    Shortage shortage;
#pragma omp parallel num_threads(threads)
    {
        Local<ThreeRows> own(shortage, rows, m.width);
        Local<Sums> window(shortage, m);
        for_strips(batch, m, [&](int64_t start, int64_t count) {
            if (!own || !window) return;
            Rows &squares = own->squares, &shares = own->shares, &direct = own->direct;
            for (int64_t h = 0; h < m.height + 2 * m.half; h++) {
                if (h < m.height) squares_of(x + start + h * line, squares[h], m, count);
                const int64_t row = h - m.half, done = row - m.half;
                if (row >= 0 && row < m.height)
                    window->of_row(squares, row, [&](int64_t w, const float *sums) {
                        const int64_t at = start + row * line + w * m.channels;
                        fetch(g + at + AHEAD * line);
                        slopes(x + at, g + at, sums, direct[row] + w * STRIP, shares[row] + w * STRIP, count, m);
                    });
                if (done >= 0)
                    window->of_row(shares, done, [&](int64_t w, const float *sums) {
                        const int64_t at = start + done * line + w * m.channels;
                        fetch(dx + at + AHEAD * line);
                        slope(x + at, direct[done] + w * STRIP, sums, dx + at, count, m);
                    });
            }
        });
    }
    shortage.check();
}

}  // namespace
