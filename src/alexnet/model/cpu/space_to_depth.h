// Blocks of pixels as channels: the first layer's few channels, so many that they fill the processor's products.
#pragma once

#include <algorithm>
#include <cstring>

#include "vector.h"

namespace {

struct Blocks {
    int64_t height, width, channels, out_height, out_width, side;
};

template <class T> inline void convert(const T *from, T *to, int64_t count) { std::memcpy(to, from, count * sizeof(T)); }

inline void convert(const float *from, bfloat16 *to, int64_t count) {
#ifdef ALEXNET_AVX512
    for (int64_t i = 0; i < count; i += LANES) store(to + i, Part(count - i), load(from + i, Part(count - i)));
#else
    for (int64_t i = 0; i < count; i++) narrow(from[i], to[i]);
#endif
}

// One line of blocks: y[column] is the block's pixels, row by row; what reaches past the image is 0.
// RUN: the values of one row of a block, which lie together in x as in y; 0 where that is not known when compiling.
template <int RUN, class S, class T> void blocks_line(const S *x, T *y, const Blocks &b, int64_t line) {
    const int64_t run = RUN ? RUN : b.side * b.channels;
    for (int64_t row = 0; row < b.side; row++) {
        const int64_t h = line * b.side + row;
        const int64_t there = h < b.height ? b.width * b.channels : 0;
        const S *from = x + h * b.width * b.channels;
        T *to = y + row * run;
        int64_t column = 0;
        for (; column < b.out_width && (column + 1) * run <= there; column++)
            convert(from + column * run, to + column * b.side * run, run);
        for (; column < b.out_width; column++) {
            const int64_t count = std::max<int64_t>(0, there - column * run);
            convert(from + column * run, to + column * b.side * run, count);
            std::memset(to + column * b.side * run + count, 0, (run - count) * sizeof(T));
        }
    }
}

// One line of an image cut short, or with zeros to its right and below it: blocks of a single pixel.
template <class S, class T> void padded_line(const S *x, T *y, const Blocks &b, int64_t line) {
    const int64_t there = line < b.height ? std::min(b.width, b.out_width) * b.channels : 0;
    convert(x + line * b.width * b.channels, y, there);
    std::memset(y + there, 0, (b.out_width * b.channels - there) * sizeof(T));
}

}  // namespace
