// Blocks of pixels as channels: the first layer's few channels, so many that they fill the processor's products.
#pragma once

#include <algorithm>

#include "vector.h"

namespace {

struct Blocks {
    int64_t height, width, channels, out_height, out_width, side;
};

// One line of blocks: y[column] is the block's pixels, row by row; what reaches past the picture is 0.
template <class S, class T> void blocks_line(const S *x, T *y, const Blocks &b, int64_t line) {
    const int64_t run = b.side * b.channels;  // values of one row of a block, which lie together in x as in y
    for (int64_t row = 0; row < b.side; row++) {
        const int64_t h = line * b.side + row;
        const int64_t there = h < b.height ? b.width * b.channels : 0;
        const S *from = x + h * b.width * b.channels;
        for (int64_t column = 0; column < b.out_width; column++) {
            T *to = y + (column * b.side + row) * run;
            const int64_t count = std::max<int64_t>(0, std::min(run, there - column * run));
            for (int64_t i = 0; i < count; i++) narrow(widen(from[column * run + i]), to[i]);
            for (int64_t i = count; i < run; i++) narrow(0.0f, to[i]);
        }
    }
}

}  // namespace
