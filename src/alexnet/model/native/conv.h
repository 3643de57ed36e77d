// The gradients of the weights and biases of a convolution with stride 1 in bfloat16, channels last: conv2 to conv5.
//
// Two pictures are laid over each other, so that every place holds a pair of values to be multiplied with a pair of
// gradients and summed. The products of 6 input and 64 output channels are summed in registers over whole pictures,
// for each place of the kernel in turn, and are never rounded to bfloat16.
#pragma once

#include <algorithm>
#include <vector>

#include "places.h"

namespace {

struct Conv {
    int64_t height, width, channels, out_height, out_width, out_channels, size, padding, groups;

    int64_t pixels() const { return out_height * out_width; }
    int64_t padded_width() const { return width + 2 * padding; }
    int64_t padded_pixels() const { return (height + 2 * padding) * padded_width(); }
};

#ifdef ALEXNET_PAIRS
constexpr int64_t INPUTS = 6, OUTPUTS = 4 * LANES;  // channels of a tile
constexpr int64_t TILE = INPUTS * OUTPUTS;
constexpr int64_t OVERLAYS = 2;  // pairs of pictures that a tile goes over before its sums go to memory

// What one thread goes through: some of the blocks of output channels, all of one group, and some of the pictures.
struct Share {
    const Conv &f;
    int64_t first, last;  // blocks of OUTPUTS channels
    Buffer<uint32_t> inputs, slopes, row;

    Share(const Conv &conv, int64_t first, int64_t last)
        : f(conv), first(first), last(last), inputs(OVERLAYS * tiles() * f.padded_pixels() * INPUTS),
          slopes(OVERLAYS * (last - first) * f.pixels() * OUTPUTS), row(tiles() * INPUTS + LANES) {}

    int64_t channels() const { return f.channels / f.groups; }
    int64_t tiles() const { return (channels() + INPUTS - 1) / INPUTS; }
    int64_t group() const { return first * OUTPUTS / (f.out_channels / f.groups); }

    uint32_t *inputs_of(int64_t overlay, int64_t tile) {
        return inputs.data() + (overlay * tiles() + tile) * f.padded_pixels() * INPUTS;
    }
    uint32_t *slopes_of(int64_t overlay, int64_t block) {
        return slopes.data() + (overlay * (last - first) + block - first) * f.pixels() * OUTPUTS;
    }

    // The pair of pictures that begins with this one, or the picture alone; biases gain its gradients.
    void lay(int64_t overlay, const bfloat16 *x, const bfloat16 *g, bool alone, float *biases) {
        const int64_t next_x = f.height * f.width * f.channels, next_g = f.pixels() * f.out_channels;
        for (int64_t pixel = 0; pixel < f.height * f.width; pixel++) {
            const bfloat16 *from = x + pixel * f.channels + group() * channels();
            for (int64_t c = 0; c < channels(); c += LANES)
                _mm512_storeu_si512(&row[c], Places<bfloat16>::overlaid(from + c, alone ? nullptr : from + c + next_x));
            const int64_t place = (pixel / f.width + f.padding) * f.padded_width() + pixel % f.width + f.padding;
            for (int64_t tile = 0; tile < tiles(); tile++)
                std::memcpy(inputs_of(overlay, tile) + place * INPUTS, &row[tile * INPUTS], INPUTS * 4);
        }
        for (int64_t block = first; block < last; block++)
            for (int64_t o = 0; o < OUTPUTS; o += LANES) {
                uint32_t *to = slopes_of(overlay, block) + o;
                __m512 bias = _mm512_setzero_ps();
                for (int64_t pixel = 0; pixel < f.pixels(); pixel++) {
                    const bfloat16 *from = g + pixel * f.out_channels + block * OUTPUTS + o;
                    const __m512i pairs = Places<bfloat16>::overlaid(from, alone ? nullptr : from + next_g);
                    _mm512_storeu_si512(to + pixel * OUTPUTS, pairs);
                    bias = add_product(bias, Places<bfloat16>::ONES, pairs);
                }
                float *sum = biases + block * OUTPUTS + o;
                _mm512_storeu_ps(sum, _mm512_add_ps(_mm512_loadu_ps(sum), bias));
            }
    }

    // sums[place of the kernel][INPUTS][OUTPUTS] += products over `overlays` pairs of pictures.
    void tile_products(int64_t block, int64_t tile, int64_t overlays, float *sums) {
        for (int64_t place = 0; place < f.size * f.size; place++, sums += TILE) {
            const int64_t start = place / f.size * f.padded_width() + place % f.size;
            __m512 total[INPUTS][4] = {};
            for (int64_t i = 0; i < TILE; i += LANES) _mm_prefetch((const char *)(sums + i), _MM_HINT_T0);
            for (int64_t overlay = 0; overlay < overlays; overlay++) {
                const uint32_t *g = slopes_of(overlay, block), *x = inputs_of(overlay, tile) + start * INPUTS;
                for (int64_t h = 0; h < f.out_height; h++, x += f.padded_width() * INPUTS)
                    for (int64_t w = 0; w < f.out_width; w++, g += OUTPUTS) {
                        __m512i slope[4];
                        for (int o = 0; o < 4; o++) slope[o] = places(g + o * LANES);
                        for (int i = 0; i < INPUTS; i++)
                            for (int o = 0; o < 4; o++)
                                total[i][o] = add_product(total[i][o], x[w * INPUTS + i], slope[o]);
                    }
            }
            for (int i = 0; i < INPUTS; i++)
                for (int o = 0; o < 4; o++) {
                    float *at = sums + i * OUTPUTS + o * LANES;
                    _mm512_storeu_ps(at, _mm512_add_ps(_mm512_loadu_ps(at), total[i][o]));
                }
        }
    }

    // sums[block][tile][place][INPUTS][OUTPUTS] and biases, over the pictures from `from` to before `to`.
    void go_through(const bfloat16 *x, const bfloat16 *g, int64_t from, int64_t to, float *sums, float *biases) {
        const int64_t x_size = f.height * f.width * f.channels, g_size = f.pixels() * f.out_channels;
        for (int64_t picture = from; picture < to; picture += 2 * OVERLAYS) {
            int64_t overlays = 0;
            for (int64_t i = picture; i < std::min(to, picture + 2 * OVERLAYS); i += 2)
                lay(overlays++, x + i * x_size, g + i * g_size, i + 1 == to, biases);
            for (int64_t block = first; block < last; block++)
                for (int64_t tile = 0; tile < tiles(); tile++)
                    tile_products(block, tile, overlays, sums + (block * tiles() + tile) * f.size * f.size * TILE);
        }
    }
};
#endif

// x[batch][height][width][channels], g[batch][out_height][out_width][out_channels]; weight[out_channels][size][size]
// [channels of a group] and bias[out_channels] in float32. True where done: it takes multiples of 16 input and of 64
// output channels in each group.
inline bool conv_gradient(const bfloat16 *x, const bfloat16 *g, float *weight, float *bias, int64_t batch,
                          const Conv &f, int threads) {
#ifdef ALEXNET_PAIRS
    const int64_t channels = f.channels / f.groups, outputs = f.out_channels / f.groups;
    if (channels % LANES || outputs % OUTPUTS) return false;
    const int64_t blocks = f.out_channels / OUTPUTS, tiles = (channels + INPUTS - 1) / INPUTS,
                  places = f.size * f.size, all = blocks * tiles * places * TILE;
    // As many shares of the blocks as there are threads, each within a group, and of the pictures where more are left.
    const int64_t in_group = blocks / f.groups;
    const int64_t parts = std::min(in_group, std::max<int64_t>(1, (threads + f.groups - 1) / f.groups));
    const int64_t slices = std::max<int64_t>(1, threads / (f.groups * parts));
    Buffer<float> sums(slices * all), biases(slices * f.out_channels);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t unit = 0; unit < slices * f.groups * parts; unit++) {
            const int64_t slice = unit / (f.groups * parts), group = unit / parts % f.groups, part = unit % parts;
            Share share(f, group * in_group + in_group * part / parts, group * in_group + in_group * (part + 1) / parts);
            share.go_through(x, g, batch * slice / slices, batch * (slice + 1) / slices, sums.data() + slice * all,
                             biases.data() + slice * f.out_channels);
        }
#pragma omp for schedule(static)
        for (int64_t o = 0; o < f.out_channels; o++) {
            const float *from = sums.data() + o / OUTPUTS * tiles * places * TILE + o % OUTPUTS;
            for (int64_t place = 0; place < places; place++)
                for (int64_t c = 0; c < channels; c++) {
                    float total = 0;
                    for (int64_t slice = 0; slice < slices; slice++)
                        total += from[slice * all + (c / INPUTS * places + place) * TILE + c % INPUTS * OUTPUTS];
                    weight[(o * places + place) * channels + c] = total;
                }
            float total = 0;
            for (int64_t slice = 0; slice < slices; slice++) total += biases[slice * f.out_channels + o];
            bias[o] = total;
        }
    }
    return true;
#else
    return false;
#endif
}

}  // namespace
