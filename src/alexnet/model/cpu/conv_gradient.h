// The gradients of the weights and biases of a convolution with stride 1, channels last: conv2 to conv5.
//
// In bfloat16 two images are laid over each other, so that every place holds a pair of values to be multiplied with a
// pair of gradients and summed. The products of 12 input and 32 output channels are summed in registers over whole
// images, for each place of the kernel in turn, and are never rounded to bfloat16.
#pragma once

#include <algorithm>
#include <vector>

#include "bf16_pairs.h"

namespace {

struct Conv {
    int64_t height, width, channels, out_height, out_width, out_channels, size, padding, groups;

    int64_t pixels() const { return out_height * out_width; }
    int64_t padded_width() const { return width + 2 * padding; }
    int64_t padded_pixels() const { return (height + 2 * padding) * padded_width(); }
};

#ifdef ALEXNET_AVX512
constexpr int64_t INPUTS = 12, OUTPUTS = 2 * LANES;  // channels of a tile
constexpr int64_t TILE = INPUTS * OUTPUTS;

// What one thread goes through: some of the blocks of output channels, all of one group, and some of the images.
template <class T> struct Share {
    using Place = typename Places<T>::Place;
    const Conv &f;
    int64_t first, last;  // blocks of OUTPUTS channels
    Buffer<Place> inputs, slopes;

    Share(const Conv &conv, int64_t first, int64_t last)
        : f(conv), first(first), last(last), inputs(tiles() * f.padded_pixels() * INPUTS),
          slopes((last - first) * f.pixels() * OUTPUTS) {}

    int64_t channels() const { return f.channels / f.groups; }
    int64_t tiles() const { return (channels() + INPUTS - 1) / INPUTS; }
    int64_t group() const { return first * OUTPUTS / (f.out_channels / f.groups); }

    Place *inputs_of(int64_t tile) { return inputs.data() + tile * f.padded_pixels() * INPUTS; }
    Place *slopes_of(int64_t block) { return slopes.data() + (block - first) * f.pixels() * OUTPUTS; }

    // As many images as a place has values, this one first, or this one alone; biases gain their gradients.
    void lay(const T *x, const T *g, bool alone, float *biases) {
        const int64_t next_x = f.height * f.width * f.channels, next_g = f.pixels() * f.out_channels;
        const int64_t channels = this->channels(), apart = f.padded_pixels() * INPUTS;
        x += group() * channels;
        for (int64_t h = 0; h < f.height; h++)
            for (int64_t w = 0; w < f.width; w++, x += f.channels) {
                Place *to = inputs.data() + ((h + f.padding) * f.padded_width() + w + f.padding) * INPUTS;
                int64_t c = 0;
                for (; c + LANES <= channels && w + 1 < f.width; c += INPUTS, to += apart)
                    // Four too many: the next pixel covers them.
                    _mm512_storeu_si512(to, Places<T>::overlaid(x + c, alone ? nullptr : x + c + next_x));
                for (; c < channels; c += INPUTS, to += apart) {
                    const Part there(std::min(INPUTS, channels - c));
                    const __m512i laid = Places<T>::overlaid(x + c, alone ? nullptr : x + c + next_x, there);
                    _mm512_mask_storeu_epi32(to, there, laid);
                }
            }
        for (int64_t block = first; block < last; block++) {
            const T *from = g + block * OUTPUTS;
            Place *to = slopes_of(block);
            __m512 bias[2] = {};
            for (int64_t pixel = 0; pixel < f.pixels(); pixel++, from += f.out_channels, to += OUTPUTS)
                for (int o = 0; o < 2; o++) {
                    const T *one = from + o * LANES;
                    const __m512i laid = Places<T>::overlaid(one, alone ? nullptr : one + next_g);
                    _mm512_storeu_si512(to + o * LANES, laid);
                    bias[o] = add_product(bias[o], Places<T>::ONES, laid);
                }
            for (int o = 0; o < 2; o++) {
                float *sum = biases + block * OUTPUTS + o * LANES;
                _mm512_storeu_ps(sum, _mm512_add_ps(_mm512_loadu_ps(sum), bias[o]));
            }
        }
    }

    // sums[place of the kernel][INPUTS][OUTPUTS] += the products of COUNT of the inputs.
    template <int COUNT> void tile_products(int64_t block, int64_t tile, float *sums) {
        for (int64_t place = 0; place < f.size * f.size; place++, sums += TILE) {
            const Place *g = slopes_of(block);
            const Place *x = inputs_of(tile) + (place / f.size * f.padded_width() + place % f.size) * INPUTS;
            __m512 total[COUNT][2] = {};
            for (int64_t i = 0; i < COUNT * OUTPUTS; i += LANES) _mm_prefetch((const char *)(sums + i), _MM_HINT_T0);
            for (int64_t h = 0; h < f.out_height; h++, x += f.padded_width() * INPUTS)
                for (int64_t w = 0; w < f.out_width; w++, g += OUTPUTS) {
                    const __m512i slope[2] = {places(g), places(g + LANES)};
                    for (int i = 0; i < COUNT; i++)
                        for (int o = 0; o < 2; o++) total[i][o] = add_product(total[i][o], x[w * INPUTS + i], slope[o]);
                }
            for (int i = 0; i < COUNT; i++)
                for (int o = 0; o < 2; o++) {
                    float *at = sums + i * OUTPUTS + o * LANES;
                    _mm512_storeu_ps(at, _mm512_add_ps(_mm512_loadu_ps(at), total[i][o]));
                }
        }
    }

    // sums[block][tile][place][INPUTS][OUTPUTS] and biases, over the images from `from` to before `to`.
    void go_through(const T *x, const T *g, int64_t from, int64_t to, float *sums, float *biases) {
        const int64_t x_size = f.height * f.width * f.channels, g_size = f.pixels() * f.out_channels;
        for (int64_t image = from; image < to; image += Places<T>::PER) {
            lay(x + image * x_size, g + image * g_size, Places<T>::PER == 1 || image + 1 == to, biases);
            for (int64_t block = first; block < last; block++)
                for (int64_t tile = 0; tile < tiles(); tile++) {
                    float *into = sums + (block * tiles() + tile) * f.size * f.size * TILE;
                    switch (std::min(INPUTS, channels() - tile * INPUTS)) {
                    case 4: tile_products<4>(block, tile, into); break;
                    case 8: tile_products<8>(block, tile, into); break;
                    default: tile_products<12>(block, tile, into);
                    }
                }
        }
    }
};

// x[batch][height][width][channels], g[batch][out_height][out_width][out_channels]; weight[out_channels][size][size]
// [channels of a group] and bias[out_channels] in float32. True where done: it takes multiples of 16 input and of 32
// output channels in each group.
template <class T>
bool conv_gradient(const T *x, const T *g, float *weight, float *bias, int64_t batch, const Conv &f, int threads) {
    const int64_t channels = f.channels / f.groups, outputs = f.out_channels / f.groups;
    if (channels % LANES || outputs % OUTPUTS) return false;
    const int64_t blocks = f.out_channels / OUTPUTS, tiles = (channels + INPUTS - 1) / INPUTS,
                  places = f.size * f.size, all = blocks * tiles * places * TILE;
    // As many shares of the blocks as there are threads, each within a group, and of the images where more are left.
    const int64_t in_group = blocks / f.groups;
    const int64_t parts = std::min(in_group, std::max<int64_t>(1, (threads + f.groups - 1) / f.groups));
    const int64_t slices = std::max<int64_t>(1, threads / (f.groups * parts));
    Buffer<float> sums(slices * all), biases(slices * f.out_channels);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t unit = 0; unit < slices * f.groups * parts; unit++) {
            const int64_t slice = unit / (f.groups * parts), group = unit / parts % f.groups, part = unit % parts;
            Share<T> share(f, group * in_group + in_group * part / parts, group * in_group + in_group * (part + 1) / parts);
            share.go_through(x, g, batch * slice / slices, batch * (slice + 1) / slices, sums.data() + slice * all,
                             biases.data() + slice * f.out_channels);
        }
#pragma omp for schedule(static)
        for (int64_t o = 0; o < f.out_channels; o += LANES) {
            const float *from = sums.data() + o / OUTPUTS * tiles * places * TILE + o % OUTPUTS;
            const auto total = [&](const float *at, int64_t apart) {
                __m512 value = _mm512_loadu_ps(at);
                for (int64_t slice = 1; slice < slices; slice++)
                    value = _mm512_add_ps(value, _mm512_loadu_ps(at + slice * apart));
                return value;
            };
            for (int64_t place = 0; place < places; place++)
                for (int64_t first = 0; first < channels; first += LANES) {
                    __m512i block[LANES];
                    for (int64_t c = first; c < first + LANES; c++)
                        block[c - first] = _mm512_castps_si512(
                            total(from + (c / INPUTS * places + place) * TILE + c % INPUTS * OUTPUTS, all));
                    transpose(block);
                    for (int64_t i = 0; i < LANES; i++)
                        _mm512_storeu_si512(weight + ((o + i) * places + place) * channels + first, block[i]);
                }
            _mm512_storeu_ps(bias + o, total(biases.data() + o, f.out_channels));
        }
    }
    return true;
}
#endif

}  // namespace
