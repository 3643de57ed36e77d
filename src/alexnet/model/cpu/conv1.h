// The convolution over few channels, channels last: conv1. In bfloat16 itself, in both types the gradients of its
// weights and biases.
//
// A row of a kernel covers size * channels values that lie together in memory. The products of eleven of them with 32
// output channels are summed in registers along lines of the output; in bfloat16, of two images laid over each other.
#pragma once

#include <algorithm>
#include <vector>

#include "bf16_pairs.h"

namespace {

struct First {
    int64_t height, width, channels, out_height, out_width, out_channels, size, stride;

    int64_t run() const { return size * channels; }
    int64_t step() const { return stride * channels; }
};

#ifdef ALEXNET_AVX512
constexpr int64_t LINES = 4;         // lines of the output at a time: so many stay in cache
constexpr int64_t WIDE = 2 * LANES;  // output channels at a time
constexpr int64_t VALUES = 11;       // values of the kernels at a time

// sums[i][o] += sum over `lines` and their `columns` of x[i] * g[o], for ROWS values i and COLUMNS * 16 channels o.
// x[line][column] are x_line and x_step apart, g[line][column][COLUMNS * 16] lies as it is read.
template <int ROWS, int COLUMNS, class P>
inline void line_products(const P *x, int64_t x_line, int64_t x_step, const P *g, int64_t lines, int64_t columns,
                          float *sums, int64_t wide) {
    __m512 total[ROWS][COLUMNS];
    for (int i = 0; i < ROWS; i++)
        for (int o = 0; o < COLUMNS; o++) total[i][o] = _mm512_loadu_ps(sums + i * wide + o * LANES);
    for (int64_t line = 0; line < lines; line++) {
        const P *at = x + line * x_line;
        for (int64_t column = 0; column < columns; column++, at += x_step, g += COLUMNS * LANES) {
            __m512i slope[COLUMNS];
            for (int o = 0; o < COLUMNS; o++) slope[o] = places(g + o * LANES);
            for (int i = 0; i < ROWS; i++)
                for (int o = 0; o < COLUMNS; o++) total[i][o] = add_product(total[i][o], at[i], slope[o]);
        }
    }
    for (int i = 0; i < ROWS; i++)
        for (int o = 0; o < COLUMNS; o++) _mm512_storeu_ps(sums + i * wide + o * LANES, total[i][o]);
}

// Images and gradients laid over each other, as many as a place has values: some lines at a time, by one thread.
template <class T> struct Laid {
    using Place = typename Places<T>::Place;
    const First &f;
    Buffer<Place> x, g;  // [line][width * channels], [block of WIDE channels][line][column][WIDE]

    explicit Laid(const First &first)
        : f(first), x(((LINES - 1) * f.stride + f.size) * x_line() + LANES), g(LINES * f.out_width * f.out_channels) {}

    int64_t x_line() const { return f.width * f.channels; }

    // Adds the share of images to sums[size][run][out_channels] and, after them, to the biases. `other_x` and
    // `other_g` are null for one alone.
    void go_through(const T *one_x, const T *other_x, const T *one_g, const T *other_g, float *sums) {
        for (int64_t line = 0; line < f.out_height; line += LINES) {
            const int64_t lines = std::min(LINES, f.out_height - line), from_x = line * f.stride * x_line();
            const int64_t from_g = line * f.out_width * f.out_channels;
            lay_x(one_x + from_x, other_x ? other_x + from_x : nullptr, ((lines - 1) * f.stride + f.size) * x_line());
            lay_g(one_g + from_g, other_g ? other_g + from_g : nullptr, lines * f.out_width,
                  sums + f.size * f.run() * f.out_channels);
            for (int64_t o = 0; o < f.out_channels; o += WIDE)
                for (int64_t row = 0; row < f.size; row++)
                    f.out_channels - o >= WIDE ? products<2>(row, o, lines, sums) : products<1>(row, o, lines, sums);
        }
    }

    void lay_x(const T *one, const T *other, int64_t values) {
        int64_t at = 0;
        for (; at + LANES <= values; at += LANES)
            _mm512_storeu_si512(&x[at], Places<T>::overlaid(one + at, other ? other + at : nullptr));
        if (at < values) {
            T rest[2][LANES] = {};
            std::copy_n(one + at, values - at, rest[0]);
            if (other) std::copy_n(other + at, values - at, rest[1]);
            _mm512_storeu_si512(&x[at], Places<T>::overlaid(rest[0], rest[1]));
        }
    }

    void lay_g(const T *one, const T *other, int64_t columns, float *biases) {
        for (int64_t o = 0; o < f.out_channels; o += LANES) {
            const int64_t block = o / WIDE * WIDE, wide = std::min(WIDE, f.out_channels - block);
            Place *to = &g[block * columns + o - block];
            __m512 bias = _mm512_loadu_ps(biases + o);
            for (int64_t column = 0, at = o; column < columns; column++, at += f.out_channels, to += wide) {
                const __m512i laid = Places<T>::overlaid(one + at, other ? other + at : nullptr);
                _mm512_storeu_si512(to, laid);
                bias = add_product(bias, Places<T>::ONES, laid);
            }
            _mm512_storeu_ps(biases + o, bias);
        }
    }

    // One row of the kernels, COLUMNS * 16 of the output channels.
    template <int COLUMNS> void products(int64_t row, int64_t o, int64_t lines, float *sums) {
        const Place *from_x = &x[row * x_line()], *from_g = &g[o * lines * f.out_width];
        sums += row * f.run() * f.out_channels + o;
        const auto some = [&](auto make, int64_t i) {
            make(from_x + i, f.stride * x_line(), f.step(), from_g, lines, f.out_width, sums + i * f.out_channels,
                 f.out_channels);
        };
        int64_t i = 0;
        for (; i + VALUES <= f.run(); i += VALUES) some(line_products<VALUES, COLUMNS, Place>, i);
        for (; i < f.run(); i++) some(line_products<1, COLUMNS, Place>, i);
    }
};

#ifdef ALEXNET_PAIRS
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
    Buffer<uint32_t> all(panels * f.size * pairs * PANEL);  // [panel][row of the kernel][pair][PANEL]
    for (int64_t o = 0; o < f.out_channels; o++)
        for (int64_t row = 0; row < f.size; row++)
            for (int64_t i = 0; i < f.run(); i++) {
                bfloat16 value;
                narrow(weight[(o * f.size + row) * f.run() + i], value);
                uint32_t &pair = all[((o / PANEL * f.size + row) * pairs + i / 2) * PANEL + o % PANEL];
                pair |= uint32_t(value.bits) << i % 2 * 16;
            }
    const int64_t image = f.height * f.width * f.channels, line_values = f.width * f.channels;
    const int64_t reach = (f.out_width - 1) * f.step() + 2 * pairs;  // values of a line that are read, one too many
#pragma omp parallel num_threads(threads)
    {
        std::vector<bfloat16> last((f.size - 1) * line_values + std::max(reach, line_values));
#pragma omp for schedule(static)
        for (int64_t line = 0; line < batch * f.out_height; line++) {
            const int64_t top = line % f.out_height * f.stride;
            const bfloat16 *from = x + line / f.out_height * image + top * line_values;
            const bool beyond = (top + f.size - 1) * line_values + reach > image;
            if (line / f.out_height == batch - 1 && beyond) {  // past the end of x
                std::copy_n(from, image - top * line_values, last.data());
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
// vectors for it and the output channels fill them. Images are summed one by one, or two by two, and then together,
// so that rounding does not grow with the batch.
template <class T>
bool first_gradient_of(const T *x, const T *g, float *weight, float *bias, int64_t batch, const First &f, int threads) {
#ifdef ALEXNET_AVX512
    if (f.out_channels % LANES) return false;
    const int64_t values = f.size * f.run(), wide = f.out_channels, count = (values + 1) * wide, PER = Places<T>::PER;
    const int64_t image = f.height * f.width * f.channels, gradient = f.out_height * f.out_width * wide;
    std::vector<float> totals(count * threads);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t part = 0; part < threads; part++) {
        float *total = totals.data() + part * count;
        std::vector<float> sums(count);
        Laid<T> laid(f);
        const int64_t end = batch * (part + 1) / threads;
        for (int64_t i = batch * part / threads; i < end; i += PER) {
            const T *from_x = x + i * image, *from_g = g + i * gradient;
            const bool more = PER > 1 && i + 1 < end;
            std::fill(sums.begin(), sums.end(), 0.0f);
            laid.go_through(from_x, more ? from_x + image : nullptr, from_g, more ? from_g + gradient : nullptr,
                            sums.data());
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
