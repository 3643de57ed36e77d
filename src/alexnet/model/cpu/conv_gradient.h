// The gradients of the weights and biases of a convolution with stride 1, zero padding p and groups: conv2 to conv5.
//
//   weight[o][i][j][c] = sum over n, h, w of x[n][h + i - p][w + j - p][c] * g[n][h][w][o], c from the group of o
//   bias[o] = sum over n, h, w of g[n][h][w][o]
//
// All arrays are channels last. For one kernel offset (i, j) after the other, the sums of TILE_INPUTS input and
// TILE_OUTPUTS output channels stay in registers while a whole image passes. Pairs of bf16 come from two images. The
// gradients are float32 and never rounded.
#pragma once

#include <algorithm>

#include "local.h"
#include "operands.h"

namespace {

struct Conv {
    int64_t height, width, channels, out_height, out_width, out_channels, size, padding, groups;

    int64_t offsets() const { return size * size; }
    int64_t x_image() const { return height * width * channels; }
    int64_t pixels() const { return out_height * out_width; }
    int64_t g_image() const { return pixels() * out_channels; }
    int64_t padded_width() const { return width + 2 * padding; }
    int64_t padded_pixels() const { return (height + 2 * padding) * padded_width(); }
    int64_t group_channels() const { return channels / groups; }
    int64_t group_outputs() const { return out_channels / groups; }
};

// TILE_INPUTS * TILE_VECTORS sums leave registers for the operands.
constexpr int TILE_VECTORS = 2;
constexpr int TILE_INPUTS = REGISTERS == 32 ? 12 : 6;
constexpr int64_t TILE_OUTPUTS = TILE_VECTORS * WIDTH;
constexpr int64_t TILE = TILE_INPUTS * TILE_OUTPUTS;

// sums[i][o] += sum over the output pixels of x[pixel][i] * g[pixel][o], for INPUTS input channels i and the first
// VECTORS vectors of a tile's output channels o. x[h][w][TILE_INPUTS] has `x_row` elements from one row to the next.
template <int INPUTS, int VECTORS, class Element>
inline void conv_gradient_tile(const Element *x, int64_t x_row, const Element *g, const Conv &s, float *sums) {
    Floats total[INPUTS][VECTORS] = {};
    for (int64_t i = 0; i < INPUTS * TILE_OUTPUTS; i += WIDTH) __builtin_prefetch(sums + i);
    for (int64_t h = 0; h < s.out_height; h++, x += x_row)
        for (int64_t w = 0; w < s.out_width; w++, g += TILE_OUTPUTS) {
            decltype(load_elements(g)) slopes[VECTORS];
            for (int o = 0; o < VECTORS; o++) slopes[o] = load_elements(g + o * WIDTH);
            for (int i = 0; i < INPUTS; i++)
                for (int o = 0; o < VECTORS; o++)
                    total[i][o] = multiply_add(total[i][o], x[w * TILE_INPUTS + i], slopes[o]);
        }
    for (int i = 0; i < INPUTS; i++)
        for (int o = 0; o < VECTORS; o++) {
            float *at = sums + i * TILE_OUTPUTS + o * WIDTH;
            store(at, load(at) + total[i][o]);
        }
}

// The share of one thread: the blocks of TILE_OUTPUTS output channels from `first` to before `last`, all of one group,
// and some of the images, packed one by one, or in bf16 two by two.
template <class T> struct ConvGradient {
    using Element = typename Packed<T>::Element;
    const Conv &s;
    int64_t first, last;
    Buffer<Element> x_packed, g_packed;  // [tile of inputs][padded pixel][TILE_INPUTS], [block][pixel][TILE_OUTPUTS]

    ConvGradient(const Conv &shape, int64_t first, int64_t last)
        : s(shape), first(first), last(last), x_packed(tiles() * tile_size()),
          g_packed((last - first) * s.pixels() * TILE_OUTPUTS) {}

    int64_t tiles() const { return (s.group_channels() + TILE_INPUTS - 1) / TILE_INPUTS; }
    int64_t group_blocks() const { return (s.group_outputs() + TILE_OUTPUTS - 1) / TILE_OUTPUTS; }
    int64_t group() const { return first / group_blocks(); }
    int64_t first_channel() const { return group() * s.group_channels(); }
    int64_t first_output(int64_t block) const { return block % group_blocks() * TILE_OUTPUTS; }  // within its group
    int64_t tile_size() const { return s.padded_pixels() * TILE_INPUTS; }
    Element *x_tile(int64_t tile) { return &x_packed[tile * tile_size()]; }
    Element *g_block(int64_t block) { return &g_packed[(block - first) * s.pixels() * TILE_OUTPUTS]; }

    // Adds the images from `start` to before `end` to sums[block][tile][offset][TILE_INPUTS][TILE_OUTPUTS] and biases.
    void add_images(const T *x, const T *g, int64_t start, int64_t end, float *sums, float *biases) {
        for (int64_t image = start; image < end; image += Packed<T>::DEPTH) {
            const T *x_image = x + image * s.x_image() + first_channel(), *g_image = g + image * s.g_image();
            const bool second = Packed<T>::DEPTH > 1 && image + 1 < end;
            pack_inputs(x_image, second ? x_image + s.x_image() : nullptr);
            pack_slopes(g_image, second ? g_image + s.g_image() : nullptr, biases);
            for (int64_t block = first; block < last; block++)
                for (int64_t tile = 0; tile < tiles(); tile++)
                    add_tile(block, tile, sums + (block * tiles() + tile) * s.offsets() * TILE);
        }
    }

    // The padding stays zero, as it was allocated. Whole vectors are fastest: what they hold too much is covered by the
    // next pixel.
    void pack_inputs(const T *x_first, const T *x_second) {
        constexpr int64_t VECTOR_INPUTS = (TILE_INPUTS + WIDTH - 1) / WIDTH * WIDTH;
        for (int64_t h = 0; h < s.height; h++)
            for (int64_t w = 0; w < s.width; w++) {
                const T *first = x_first + (h * s.width + w) * s.channels;
                const T *second = x_second ? x_second + (h * s.width + w) * s.channels : nullptr;
                Element *to = &x_packed[((h + s.padding) * s.padded_width() + w + s.padding) * TILE_INPUTS];
                int64_t c = 0;
                for (; c + VECTOR_INPUTS <= s.group_channels() && w + 1 < s.width; c += TILE_INPUTS, to += tile_size())
                    Packed<T>::pack(first + c, second ? second + c : nullptr, VECTOR_INPUTS, to, VECTOR_INPUTS);
                for (; c < s.group_channels(); c += TILE_INPUTS, to += tile_size())
                    Packed<T>::pack(first + c, second ? second + c : nullptr, s.group_channels() - c, to, TILE_INPUTS);
            }
    }

    void pack_slopes(const T *g_first, const T *g_second, float *biases) {
        for (int64_t block = first; block < last; block++) {
            Element *to = g_block(block);
            Floats bias[TILE_VECTORS] = {};
            const int64_t column = first_output(block), from_block = group() * s.group_outputs() + column;
            for (int64_t pixel = 0; pixel < s.pixels(); pixel++, to += TILE_OUTPUTS)
                for (int o = 0; o < TILE_VECTORS; o++) {
                    const int64_t from = pixel * s.out_channels + from_block + o * WIDTH;
                    const Part there(s.group_outputs() - column - o * WIDTH);
                    const auto slopes = Packed<T>::load(g_first + from, g_second ? g_second + from : nullptr, there);
                    store_elements(to + o * WIDTH, slopes);
                    bias[o] = multiply_add(bias[o], Packed<T>::ONE, slopes);
                }
            for (int o = 0; o < TILE_VECTORS; o++) {
                float *sum = biases + block * TILE_OUTPUTS + o * WIDTH;
                store(sum, load(sum) + bias[o]);
            }
        }
    }

    void add_tile(int64_t block, int64_t tile, float *sums) {
        if (s.group_outputs() - first_output(block) > WIDTH)
            add_offsets<TILE_VECTORS>(block, tile, sums);
        else
            add_offsets<1>(block, tile, sums);
    }

    template <int VECTORS> void add_offsets(int64_t block, int64_t tile, float *sums) {
        const int64_t row = s.padded_width() * TILE_INPUTS, inputs = s.group_channels() - tile * TILE_INPUTS;
        for (int64_t offset = 0; offset < s.offsets(); offset++, sums += TILE) {
            const Element *x = x_tile(tile) + offset / s.size * row + offset % s.size * TILE_INPUTS;
            if (inputs > TILE_INPUTS * 2 / 3)
                conv_gradient_tile<TILE_INPUTS, VECTORS>(x, row, g_block(block), s, sums);
            else if (inputs > TILE_INPUTS / 3)
                conv_gradient_tile<TILE_INPUTS * 2 / 3, VECTORS>(x, row, g_block(block), s, sums);
            else
                conv_gradient_tile<TILE_INPUTS / 3, VECTORS>(x, row, g_block(block), s, sums);
        }
    }
};

inline Floats sum_slices(const float *first, int64_t slices, int64_t stride) {
    Floats total = load(first);
    for (int64_t slice = 1; slice < slices; slice++) total += load(first + slice * stride);
    return total;
}

// Copies the gradients of a vector of output channels from their tiles: `from`
// [tile][offset][TILE_INPUTS][TILE_OUTPUTS] in each of the slices, to weight[`outputs`][offset][inputs].
inline void unpack_gradient(const float *from, int64_t slices, int64_t slice_sums, float *weight, int64_t outputs,
                            const Conv &s) {
    const int64_t inputs = s.group_channels();
    for (int64_t offset = 0; offset < s.offsets(); offset++)
        for (int64_t first = 0; first < inputs; first += WIDTH) {
            Floats block[WIDTH] = {};
            for (int64_t c = first; c < std::min(first + WIDTH, inputs); c++)
                block[c - first] =
                    sum_slices(from + (c / TILE_INPUTS * s.offsets() + offset) * TILE + c % TILE_INPUTS * TILE_OUTPUTS,
                               slices, slice_sums);
            transpose(block);
            for (int64_t i = 0; i < std::min(WIDTH, outputs); i++)
                store(weight + (i * s.offsets() + offset) * inputs + first, Part(inputs - first), block[i]);
        }
}

// weight[out_channels][size][size][channels of a group] and bias[out_channels], from x[batch][height][width][channels]
// and g[batch][out_height][out_width][out_channels].
template <class T>
void conv_gradient(const T *x, const T *g, float *weight, float *bias, int64_t batch, int64_t height, int64_t width,
                   int64_t channels, int64_t out_height, int64_t out_width, int64_t out_channels, int64_t size,
                   int64_t padding, int64_t groups, int threads) {
    const Conv s{height, width, channels, out_height, out_width, out_channels, size, padding, groups};
    const int64_t tiles = (s.group_channels() + TILE_INPUTS - 1) / TILE_INPUTS;
    const int64_t group_blocks = (s.group_outputs() + TILE_OUTPUTS - 1) / TILE_OUTPUTS, blocks = group_blocks * groups;
    // As many shares of the blocks as there are threads, each within a group; of the images where threads are left.
    const int64_t parts = std::min(group_blocks, std::max<int64_t>(1, (threads + s.groups - 1) / s.groups));
    const int64_t slices = std::max<int64_t>(1, threads / (s.groups * parts));
    const int64_t slice_sums = blocks * tiles * s.offsets() * TILE, slice_biases = blocks * TILE_OUTPUTS;
    Buffer<float> sums(slices * slice_sums), biases(slices * slice_biases);
    Shortage shortage;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t share = 0; share < slices * s.groups * parts; share++) {
            const int64_t slice = share / (s.groups * parts), group = share / parts % s.groups, part = share % parts;
            Local<ConvGradient<T>> gradient(shortage, s, group * group_blocks + group_blocks * part / parts,
                                            group * group_blocks + group_blocks * (part + 1) / parts);
            if (!gradient) continue;
            gradient->add_images(x, g, batch * slice / slices, batch * (slice + 1) / slices, &sums[slice * slice_sums],
                                 &biases[slice * slice_biases]);
        }
#pragma omp for schedule(static)
        for (int64_t number = 0; number < blocks * TILE_VECTORS; number++) {
            const int64_t block = number / TILE_VECTORS, vector = number % TILE_VECTORS * WIDTH;
            const int64_t column = block % group_blocks * TILE_OUTPUTS + vector, there = s.group_outputs() - column;
            if (there <= 0) continue;
            const int64_t o = block / group_blocks * s.group_outputs() + column;
            unpack_gradient(&sums[block * tiles * s.offsets() * TILE + vector], slices, slice_sums,
                            weight + o * s.offsets() * s.group_channels(), there, s);
            store(bias + o, Part(there), sum_slices(&biases[block * TILE_OUTPUTS + vector], slices, slice_biases));
        }
    }
    shortage.check();
}

}  // namespace
