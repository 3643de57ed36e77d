// Convolution over few input channels, such as conv1 (3 channels, 11x11 kernels, stride 4), without padding, and the
// gradients of its weights and bias. With p = (h * stride + i, w * stride + j) for output pixel (h, w) and offset (i,
// j):
//
//   conv1            y[n][h][w][o] = bias[o] + sum over i, j, c of x[n][p][c] * weight[o][i][j][c]
//   conv1_gradient   weight[o][i][j][c] = sum over n, h, w of x[n][p][c] * g[n][h][w][o]
//                    bias[o] = sum over n, h, w of g[n][h][w][o]
//
// All arrays are channels last. The size * channels values under a row of a kernel are neighbours in memory: they stand
// for the channels that conv1 lacks.
#pragma once

#include <algorithm>
#include <vector>

#include "local.h"
#include "operands.h"

namespace {

struct Conv1 {
    int64_t height, width, channels, out_height, out_width, out_channels, size, stride;

    int64_t kernel_row() const { return size * channels; }
    int64_t kernel() const { return size * kernel_row(); }
    int64_t x_row() const { return width * channels; }
    int64_t x_image() const { return height * x_row(); }
    int64_t x_step() const { return stride * channels; }  // from one output pixel to the next
    int64_t g_row() const { return out_width * out_channels; }
    int64_t g_image() const { return out_height * g_row(); }
    int64_t padded_channels() const { return (out_channels + WIDTH - 1) / WIDTH * WIDTH; }  // in whole vectors
};

// Sums in registers: pixels of an output row times vectors of output channels.
constexpr int CONV1_SUMS = REGISTERS == 32 ? 24 : 12;
constexpr int CONV1_MOST_VECTORS = 3;

// Pixels in a tile with V vectors of output channels.
constexpr int conv1_pixels(int vectors) { return CONV1_SUMS / std::max(2, vectors); }

// Vectors of output channels in a panel of weights: all panels are equally wide, and as few as possible.
inline int64_t conv1_vectors(int64_t out_channels) {
    const int64_t vectors = (out_channels + WIDTH - 1) / WIDTH;
    const int64_t panels = (vectors + CONV1_MOST_VECTORS - 1) / CONV1_MOST_VECTORS;
    return (vectors + panels - 1) / panels;
}

// The weights rounded and packed: [panel][kernel row][element][panel's channels], with zeros after the last channel and
// value.
template <class T>
Buffer<typename Packed<T>::Element> pack_weights(const float *weight, const Conv1 &s, int64_t panel) {
    constexpr int64_t DEPTH = Packed<T>::DEPTH;
    const int64_t depth = (s.kernel_row() + DEPTH - 1) / DEPTH, panels = (s.out_channels + panel - 1) / panel;
    Buffer<typename Packed<T>::Element> packed(panels * s.size * depth * panel);
    for (int64_t o = 0; o < s.out_channels; o++)
        for (int64_t row = 0; row < s.size; row++) {
            const float *from = weight + o * s.kernel() + row * s.kernel_row();
            T *to = (T *)&packed[(o / panel * s.size + row) * depth * panel + o % panel];
            for (int64_t value = 0; value < s.kernel_row(); value++)
                narrow(from[value], to[value / DEPTH * DEPTH * panel + value % DEPTH]);
        }
    return packed;
}

// y[pixel][o] for P pixels of an output row and the `channels` output channels of a panel of V vectors.
template <int P, int V, class T>
inline void conv1_tile(const T *x, const typename Packed<T>::Element *panel, const float *bias, T *y, bool relu,
                       int64_t channels, const Conv1 &s) {
    using Element = typename Packed<T>::Element;
    constexpr int64_t DEPTH = Packed<T>::DEPTH;
    Floats sums[P][V];
    for (int o = 0; o < V; o++) {
        const Part there(std::max<int64_t>(0, channels - o * WIDTH));
        for (int i = 0; i < P; i++) sums[i][o] = (Floats)load(bias + o * WIDTH, there);
    }
    const int64_t depth = (s.kernel_row() + DEPTH - 1) / DEPTH, step = s.x_step();
    for (int64_t row = 0; row < s.size; row++, x += s.x_row())
        for (int64_t k = 0; k < depth; k++, panel += V * WIDTH) {
            decltype(load_elements(panel)) weights[V];
            for (int o = 0; o < V; o++) weights[o] = load_elements(panel + o * WIDTH);
            for (int i = 0; i < P; i++) {
                Element values;
                std::memcpy(&values, x + i * step + DEPTH * k, sizeof values);
                for (int o = 0; o < V; o++) sums[i][o] = multiply_add(sums[i][o], values, weights[o]);
            }
        }
    for (int i = 0; i < P; i++)
        for (int o = 0; o < V; o++) {
            const Part there(std::max<int64_t>(0, channels - o * WIDTH));
            const Floats sum = (Floats)sums[i][o];
            store(y + i * s.out_channels + o * WIDTH, there, relu ? (Floats)rectified(sum) : sum);
        }
}

// One output row of one panel of weights, P pixels at a time: the most, or fewer where as many tiles hold the row.
template <int P, int V, class T>
void conv1_row(const T *x, const typename Packed<T>::Element *panel, const float *bias, T *y, bool relu,
               int64_t channels, const Conv1 &s) {
    constexpr int LEAST = conv1_pixels(V) / 2;
    if constexpr (P > LEAST)
        if ((s.out_width + P - 2) / (P - 1) == (s.out_width + P - 1) / P)
            return conv1_row<P - 1, V>(x, panel, bias, y, relu, channels, s);
    for (int64_t next = 0; next < s.out_width; next += P) {
        const int64_t column = std::min(next, s.out_width - P);  // the last tile repeats some pixels
        if (column >= 0)
            conv1_tile<P, V>(x + column * s.x_step(), panel, bias, y + column * s.out_channels, relu, channels, s);
        else
            for (int64_t i = 0; i < s.out_width; i++)
                conv1_tile<1, V>(x + i * s.x_step(), panel, bias, y + i * s.out_channels, relu, channels, s);
    }
}

// The convolution, with `relu` its ReLU; weight[out_channels][size][size][channels] and bias are float32, and rounded
// here where x is bf16.
template <class T>
void conv1(const T *x, const float *weight, const float *bias, T *y, int64_t batch, int64_t height, int64_t width,
           int64_t channels, int64_t out_height, int64_t out_width, int64_t out_channels, int64_t size, int64_t stride,
           bool relu, int threads) {
    const Conv1 s{height, width, channels, out_height, out_width, out_channels, size, stride};
    const int64_t depth = (s.kernel_row() + Packed<T>::DEPTH - 1) / Packed<T>::DEPTH;
    const int64_t vectors = conv1_vectors(out_channels), panel = vectors * WIDTH;
    const auto packed = pack_weights<T>(weight, s, panel);
    const auto make_row = vectors == 1   ? conv1_row<conv1_pixels(1), 1, T>
                          : vectors == 2 ? conv1_row<conv1_pixels(2), 2, T>
                                         : conv1_row<conv1_pixels(3), 3, T>;
    const int64_t read = (s.out_width - 1) * s.x_step() + Packed<T>::DEPTH * depth;  // of a row, perhaps one too many
    Shortage shortage;
#pragma omp parallel num_threads(threads)
    {
        Local<std::vector<T>> last(shortage, (s.size - 1) * s.x_row() + std::max(read, s.x_row()));
#pragma omp for schedule(static)
        for (int64_t row = 0; row < batch * s.out_height; row++) {
            if (!last) continue;
            const int64_t image = row / s.out_height, top = row % s.out_height * s.stride;
            const T *from = x + image * s.x_image() + top * s.x_row();
            if (image == batch - 1 && (top + s.size - 1) * s.x_row() + read > s.x_image()) {  // past the end of x
                std::copy_n(from, s.x_image() - top * s.x_row(), last->data());
                from = last->data();
            }
            for (int64_t o = 0; o < s.out_channels; o += panel)
                make_row(from, packed.data() + o * s.size * depth, bias + o, y + row * s.g_row() + o, relu,
                         std::min(panel, s.out_channels - o), s);
        }
    }
    shortage.check();
}

constexpr int64_t CONV1_ROWS = 4;  // output rows whose operands are packed together and stay in cache
// Values of a kernel row (33 in conv1, a multiple of both) and vectors of output channels whose sums stay in registers.
constexpr int CONV1_VALUES = REGISTERS == 32 ? 11 : 3;
constexpr int CONV1_FEW = REGISTERS == 32 ? 4 : 2;  // where that many are left
constexpr int CONV1_CHANNELS = REGISTERS == 32 ? 2 : 3;
constexpr int64_t CONV1_BLOCK = CONV1_CHANNELS * WIDTH;

// sums[i][o] += sum over `rows` and their `columns` of x[row * x_row + column * x_step + i] * g[row][column][o], for
// VALUES values i and CHANNELS vectors of channels o.
template <int VALUES, int CHANNELS, class Element>
inline void conv1_gradient_tile(const Element *x, int64_t x_row, int64_t x_step, const Element *g, int64_t rows,
                                int64_t columns, float *sums, int64_t sums_row) {
    Floats total[VALUES][CHANNELS];
    for (int i = 0; i < VALUES; i++)
        for (int o = 0; o < CHANNELS; o++) total[i][o] = load(sums + i * sums_row + o * WIDTH);
    for (int64_t row = 0; row < rows; row++) {
        const Element *at = x + row * x_row;
        for (int64_t column = 0; column < columns; column++, at += x_step, g += CHANNELS * WIDTH) {
            decltype(load_elements(g)) slopes[CHANNELS];
            for (int o = 0; o < CHANNELS; o++) slopes[o] = load_elements(g + o * WIDTH);
            for (int i = 0; i < VALUES; i++)
                for (int o = 0; o < CHANNELS; o++) total[i][o] = multiply_add(total[i][o], at[i], slopes[o]);
        }
    }
    for (int i = 0; i < VALUES; i++)
        for (int o = 0; o < CHANNELS; o++) store(sums + i * sums_row + o * WIDTH, total[i][o]);
}

// The operands of some output rows, packed, of one image, or in bf16 of two that make up the pairs.
template <class T> struct Conv1Gradient {
    using Element = typename Packed<T>::Element;
    const Conv1 &s;
    Buffer<Element> x, g;  // [row][width * channels], [block of CONV1_BLOCK channels][row][column][CONV1_BLOCK]

    explicit Conv1Gradient(const Conv1 &shape)
        : s(shape), x(((CONV1_ROWS - 1) * s.stride + s.size) * s.x_row()),
          g(CONV1_ROWS * s.out_width * s.padded_channels()) {}

    // Adds the gradients for an image, or two images, to sums[size][size * channels][padded_channels] and to the biases
    // after it. The second image is null where there is none.
    void add_images(const T *x_first, const T *x_second, const T *g_first, const T *g_second, float *sums) {
        for (int64_t top = 0; top < s.out_height; top += CONV1_ROWS) {
            const int64_t rows = std::min(CONV1_ROWS, s.out_height - top);
            const int64_t x_start = top * s.stride * s.x_row(), g_start = top * s.g_row();
            const int64_t values = ((rows - 1) * s.stride + s.size) * s.x_row();
            Packed<T>::pack(x_first + x_start, x_second ? x_second + x_start : nullptr, values, x.data(), values);
            pack_slopes(g_first + g_start, g_second ? g_second + g_start : nullptr, rows * s.out_width,
                        sums + s.kernel() * s.padded_channels());
            for (int64_t o = 0; o < s.out_channels; o += CONV1_BLOCK)
                for (int64_t row = 0; row < s.size; row++) add_block(row, o, rows, sums);
        }
    }

    // Packs the gradients of `pixels` output pixels block by block and adds them to the biases.
    void pack_slopes(const T *first, const T *second, int64_t pixels, float *biases) {
        for (int64_t o = 0; o < s.out_channels; o += WIDTH) {
            const int64_t block = o / CONV1_BLOCK * CONV1_BLOCK,
                          wide = std::min(CONV1_BLOCK, s.padded_channels() - block);
            const Part there(s.out_channels - o);
            Element *to = &g[block * pixels + o - block];
            Floats bias = load(biases + o);
            for (int64_t pixel = 0, at = o; pixel < pixels; pixel++, at += s.out_channels, to += wide) {
                const auto slopes = Packed<T>::load(first + at, second ? second + at : nullptr, there);
                store_elements(to, slopes);
                bias = multiply_add(bias, Packed<T>::ONE, slopes);
            }
            store(biases + o, bias);
        }
    }

    // One row of the kernels and the channels from `o` on, as many as a block holds.
    void add_block(int64_t row, int64_t o, int64_t rows, float *sums) {
        switch (std::min(CONV1_BLOCK, s.padded_channels() - o) / WIDTH) {
            case 1: add_kernel_row<1>(row, o, rows, sums); break;
            case 2: add_kernel_row<2>(row, o, rows, sums); break;
            default: add_kernel_row<CONV1_CHANNELS>(row, o, rows, sums);
        }
    }

    template <int CHANNELS> void add_kernel_row(int64_t row, int64_t o, int64_t rows, float *sums) {
        const Element *x_from = &x[row * s.x_row()], *g_from = &g[o * rows * s.out_width];
        sums += row * s.kernel_row() * s.padded_channels() + o;
        const auto add = [&](auto tile, int64_t i) {
            tile(x_from + i, s.stride * s.x_row(), s.x_step(), g_from, rows, s.out_width,
                 sums + i * s.padded_channels(), s.padded_channels());
        };
        int64_t i = 0;
        for (; i + CONV1_VALUES <= s.kernel_row(); i += CONV1_VALUES)
            add(conv1_gradient_tile<CONV1_VALUES, CHANNELS, Element>, i);
        for (; i + CONV1_FEW <= s.kernel_row(); i += CONV1_FEW)
            add(conv1_gradient_tile<CONV1_FEW, CHANNELS, Element>, i);
        for (; i < s.kernel_row(); i++) add(conv1_gradient_tile<1, CHANNELS, Element>, i);
    }
};

// The gradients of weight[out_channels][size][size][channels] and bias[out_channels], in float32 and never rounded.
// Each image, or pair of images, is summed alone, so that rounding errors do not grow with the batch.
template <class T>
void conv1_gradient(const T *x, const T *g, float *weight, float *bias, int64_t batch, int64_t height, int64_t width,
                    int64_t channels, int64_t out_height, int64_t out_width, int64_t out_channels, int64_t size,
                    int64_t stride, int threads) {
    const Conv1 s{height, width, channels, out_height, out_width, out_channels, size, stride};
    constexpr int64_t DEPTH = Packed<T>::DEPTH;
    const int64_t count = (s.kernel() + 1) * s.padded_channels();
    std::vector<float> totals(count * threads);
    Shortage shortage;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t share = 0; share < threads; share++) {
        float *total = totals.data() + share * count;
        Local<std::vector<float>> own_sums(shortage, count);
        Local<Conv1Gradient<T>> gradient(shortage, s);
        if (!own_sums || !gradient) continue;
        std::vector<float> &sums = *own_sums;
        const int64_t end = batch * (share + 1) / threads;
        for (int64_t i = batch * share / threads; i < end; i += DEPTH) {
            const T *x_first = x + i * s.x_image(), *g_first = g + i * s.g_image();
            const bool second = DEPTH > 1 && i + 1 < end;
            std::fill(sums.begin(), sums.end(), 0.0f);
            gradient->add_images(x_first, second ? x_first + s.x_image() : nullptr, g_first,
                                 second ? g_first + s.g_image() : nullptr, sums.data());
            for (int64_t at = 0; at < count; at++) total[at] += sums[at];
        }
    }
    shortage.check();
    for (int64_t at = 0; at <= s.kernel(); at++)
        for (int64_t o = 0; o < s.out_channels; o++) {
            float total = 0;
            for (int share = 0; share < threads; share++) total += totals[share * count + at * s.padded_channels() + o];
            (at < s.kernel() ? weight[o * s.kernel() + at] : bias[o]) = total;
        }
}

}  // namespace
