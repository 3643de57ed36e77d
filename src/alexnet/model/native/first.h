// The convolution over few channels, channels last: conv1. In bfloat16 itself, in both types the gradients of its
// weights and biases.
//
// A row of a kernel covers size * channels values that lie together in memory. The products of eleven of them with 32
// output channels are summed in registers along lines of the output; in bfloat16, pairs of neighbours there.
#pragma once

#include <algorithm>
#include <vector>

#include "places.h"

namespace {

struct First {
    int64_t height, width, channels, out_height, out_width, out_channels, size, stride;

    int64_t run() const { return size * channels; }
    int64_t step() const { return stride * channels; }
};

#ifdef ALEXNET_AVX512
constexpr int64_t LINES = 5;  // lines of the output at a time: so many stay in cache

// Lines of pictures and of gradients: `columns` places along each line, `step` values or pairs apart.
template <class T> struct Lines {
    const T *x;
    int64_t x_line, x_step;
    const T *g;
    int64_t g_line, g_step, columns;
};

// sums[i][o] += sum over `count` lines and their columns of x[i] * g[o], for ROWS values i and COLUMNS * 16 of o.
template <int ROWS, int COLUMNS, class T>
inline void line_products(const Lines<T> &l, int64_t count, float *sums, int64_t wide) {
    __m512 total[ROWS][COLUMNS];
    for (int i = 0; i < ROWS; i++)
        for (int o = 0; o < COLUMNS; o++) total[i][o] = _mm512_loadu_ps(sums + i * wide + o * LANES);
    for (int64_t line = 0; line < count; line++) {
        const T *x = l.x + line * l.x_line, *g = l.g + line * l.g_line;
        for (int64_t column = 0; column < l.columns; column++, x += l.x_step, g += l.g_step) {
            __m512i slope[COLUMNS];
            for (int o = 0; o < COLUMNS; o++) slope[o] = places(g + o * LANES);
            for (int i = 0; i < ROWS; i++)
                for (int o = 0; o < COLUMNS; o++) total[i][o] = add_product(total[i][o], x[i], slope[o]);
        }
    }
    for (int i = 0; i < ROWS; i++)
        for (int o = 0; o < COLUMNS; o++) _mm512_storeu_ps(sums + i * wide + o * LANES, total[i][o]);
}

// The same for one row of the kernels: sums[run][wide].
template <class T> void row_products(Lines<T> l, int64_t count, float *sums, int64_t run, int64_t wide) {
    constexpr int ROWS = 11;
    const T *x = l.x;
    for (int64_t o = 0; o < wide; o += 2 * LANES, l.g += 2 * LANES) {
        const bool two = o + 2 * LANES <= wide;
        int64_t i = 0;
        for (; i + ROWS <= run; i += ROWS) {
            l.x = x + i;
            two ? line_products<ROWS, 2>(l, count, sums + i * wide + o, wide)
                : line_products<ROWS, 1>(l, count, sums + i * wide + o, wide);
        }
        for (; i < run; i++) {
            l.x = x + i;
            two ? line_products<1, 2>(l, count, sums + i * wide + o, wide)
                : line_products<1, 1>(l, count, sums + i * wide + o, wide);
        }
    }
}

// Adds one picture's share to sums[size][run][out_channels].
void picture_products(const float *x, const float *g, float *sums, const First &f) {
    const int64_t x_line = f.width * f.channels, g_line = f.out_width * f.out_channels;
    for (int64_t line = 0; line < f.out_height; line += LINES)
        for (int64_t row = 0; row < f.size; row++) {
            const Lines<float> l{x + (line * f.stride + row) * x_line, f.stride * x_line, f.step(), g + line * g_line,
                                 g_line, f.out_channels, f.out_width};
            row_products(l, std::min(LINES, f.out_height - line), sums + row * f.run() * f.out_channels, f.run(), f.out_channels);
        }
}

#ifdef ALEXNET_PAIRS
// to[column / 2][values] from the values at every column, `step` apart.
inline void pair_columns(const bfloat16 *from, int64_t step, int64_t columns, int64_t values, uint32_t *to) {
    for (int64_t column = 0; column < columns; column += 2, to += values)
        for (int64_t i = 0; i < values; i += LANES) {
            const Part there(values - i);
            const __m512i both = Places<bfloat16>::across(from + column * step + i, step, columns - column, there);
            _mm512_mask_storeu_epi32(to + i, there, both);
        }
}

void picture_products(const bfloat16 *x, const bfloat16 *g, float *sums, const First &f) {
    const int64_t columns = (f.out_width + 1) / 2, wide = f.out_channels;
    const int64_t x_line = columns * f.run(), g_line = columns * wide;
    std::vector<uint32_t> x_pairs(((LINES - 1) * f.stride + f.size) * x_line), g_pairs(LINES * g_line);
    for (int64_t line = 0; line < f.out_height; line += LINES) {
        const int64_t count = std::min(LINES, f.out_height - line);
        for (int64_t row = 0; row < (count - 1) * f.stride + f.size; row++)
            pair_columns(x + (line * f.stride + row) * f.width * f.channels, f.step(), f.out_width, f.run(),
                         x_pairs.data() + row * x_line);
        for (int64_t i = 0; i < count; i++)
            pair_columns(g + (line + i) * f.out_width * wide, wide, f.out_width, wide, g_pairs.data() + i * g_line);
        for (int64_t row = 0; row < f.size; row++) {
            const Lines<uint32_t> l{x_pairs.data() + row * x_line, f.stride * x_line, f.run(), g_pairs.data(), g_line,
                                    wide, columns};
            row_products(l, count, sums + row * f.run() * wide, f.run(), wide);
        }
    }
}

// y[ROWS][48] = bias + the kernels' products, for ROWS places along a line of the output.
template <int ROWS>
inline void first_tile(const bfloat16 *x, const uint32_t *panel, const float *bias, bfloat16 *y, bool relu,
                       int64_t channels, const First &f) {
    constexpr int COLUMNS = 3;
    __m512 sums[ROWS][COLUMNS];
    for (int o = 0; o < COLUMNS; o++) {
        const __m512 start = load(bias + o * LANES, Part(std::max<int64_t>(0, channels - o * LANES)));
        for (int i = 0; i < ROWS; i++) sums[i][o] = start;
    }
    const int64_t pairs = (f.run() + 1) / 2;
    for (int64_t row = 0; row < f.size; row++, x += f.width * f.channels)
        for (int64_t pair = 0; pair < pairs; pair++, panel += COLUMNS * LANES) {
            __m512i weights[COLUMNS];
            for (int o = 0; o < COLUMNS; o++) weights[o] = places(panel + o * LANES);
            for (int i = 0; i < ROWS; i++) {
                uint32_t both;
                std::memcpy(&both, x + i * f.step() + 2 * pair, 4);
                for (int o = 0; o < COLUMNS; o++) sums[i][o] = add_product(sums[i][o], both, weights[o]);
            }
        }
    for (int i = 0; i < ROWS; i++)
        for (int o = 0; o < COLUMNS; o++) {
            const Part there(std::max<int64_t>(0, channels - o * LANES));
            store(y + i * f.out_channels + o * LANES, there, relu ? rectified(sums[i][o]) : sums[i][o]);
        }
}
#endif
#endif

// y = the convolution of x[batch][height][width][channels] with weight[out_channels][size][size][channels], float32
// and rounded here, plus bias, and its ReLU with `relu`. An even number of channels times stride; true where done.
inline bool first(const bfloat16 *x, const float *weight, const float *bias, bfloat16 *y, int64_t batch, const First &f,
                  bool relu, int threads) {
#ifdef ALEXNET_PAIRS
    constexpr int64_t ROWS = 8, PANEL = 3 * LANES;
    const int64_t pairs = (f.run() + 1) / 2, panels = (f.out_channels + PANEL - 1) / PANEL;
    std::vector<uint32_t> all(panels * f.size * pairs * PANEL);  // [panel][row of the kernel][pair][PANEL]
    for (int64_t o = 0; o < f.out_channels; o++)
        for (int64_t row = 0; row < f.size; row++)
            for (int64_t i = 0; i < f.run(); i++) {
                bfloat16 value;
                narrow(weight[(o * f.size + row) * f.run() + i], value);
                uint32_t &pair = all[((o / PANEL * f.size + row) * pairs + i / 2) * PANEL + o % PANEL];
                pair |= uint32_t(value.bits) << i % 2 * 16;
            }
    const int64_t picture = f.height * f.width * f.channels, line_values = f.width * f.channels;
    const int64_t reach = (f.out_width - 1) * f.step() + 2 * pairs;  // values of a line that are read, one too many
#pragma omp parallel num_threads(threads)
    {
        std::vector<bfloat16> last((f.size - 1) * line_values + std::max(reach, line_values));
#pragma omp for schedule(static)
        for (int64_t line = 0; line < batch * f.out_height; line++) {
            const int64_t top = line % f.out_height * f.stride;
            const bfloat16 *from = x + line / f.out_height * picture + top * line_values;
            const bool beyond = (top + f.size - 1) * line_values + reach > picture;
            if (line / f.out_height == batch - 1 && beyond) {  // past the end of x
                std::copy_n(from, picture - top * line_values, last.data());
                from = last.data();
            }
            bfloat16 *to = y + line * f.out_width * f.out_channels;
            for (int64_t panel = 0; panel < panels; panel++) {
                const uint32_t *weights = all.data() + panel * f.size * pairs * PANEL;
                const int64_t o = panel * PANEL, channels = std::min(PANEL, f.out_channels - o);
                for (int64_t column = 0; column < f.out_width; column += ROWS) {
                    const int64_t at = std::min(column, f.out_width - ROWS);  // the last tile repeats some places
                    if (at >= 0)
                        first_tile<ROWS>(from + at * f.step(), weights, bias + o, to + at * f.out_channels + o, relu,
                                         channels, f);
                    else
                        for (int64_t i = 0; i < f.out_width; i++)
                            first_tile<1>(from + i * f.step(), weights, bias + o, to + i * f.out_channels + o, relu,
                                          channels, f);
                }
            }
        }
    }
    return true;
#else
    return false;
#endif
}

// Gradients of weight[out_channels][size][size][channels] and bias[out_channels]: true where this processor has the
// vectors for it and the output channels fill them. Pictures are summed one by one and then together, so that
// rounding does not grow with the batch.
template <class T>
bool first_gradient_of(const T *x, const T *g, float *weight, float *bias, int64_t batch, const First &f, int threads) {
#ifdef ALEXNET_AVX512
    if (f.out_channels % LANES) return false;
    const int64_t values = f.size * f.run(), wide = f.out_channels, count = (values + 1) * wide;
    std::vector<float> totals(count * threads);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t part = 0; part < threads; part++) {
        float *total = totals.data() + part * count;
        std::vector<float> sums(count);
        for (int64_t i = batch * part / threads; i < batch * (part + 1) / threads; i++) {
            const T *gradient = g + i * f.out_height * f.out_width * wide;
            std::fill(sums.begin(), sums.end(), 0.0f);
            picture_products(x + i * f.height * f.width * f.channels, gradient, sums.data(), f);
            float *into = sums.data() + values * wide;
            for (int64_t at = 0; at < f.out_height * f.out_width * wide; at += wide)
                for (int64_t o = 0; o < wide; o += LANES)
                    _mm512_storeu_ps(into + o, _mm512_add_ps(_mm512_loadu_ps(into + o), load(gradient + at + o, Whole(0))));
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

inline bool first_gradient(const float *x, const float *g, float *weight, float *bias, int64_t batch, const First &f,
                           int threads) {
    return first_gradient_of(x, g, weight, bias, batch, f, threads);
}

inline bool first_gradient(const bfloat16 *x, const bfloat16 *g, float *weight, float *bias, int64_t batch,
                           const First &f, int threads) {
#ifdef ALEXNET_PAIRS
    return first_gradient_of(x, g, weight, bias, batch, f, threads);
#else
    return false;
#endif
}

}  // namespace
