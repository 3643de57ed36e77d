// Space-to-depth of x[batch][height][width][channels]: blocks of side x side pixels become the channels of one,
// y[batch][out_height][out_width][side * side * channels], row by row. What reaches past the image is 0. For conv1,
// whose three channels would not fill the processor's matrix multiplications.
//
// With side 1: the image cut short, or with zeros on its right and below it.
#pragma once

#include <algorithm>
#include <cstring>

#include "vector.h"

namespace {

struct SpaceToDepth {
    int64_t height, width, channels, out_height, out_width, side;
};

template <class T> inline void convert(const T *from, T *to, int64_t count) {
    std::memcpy(to, from, count * sizeof(T));
}

inline void convert(const float *from, bfloat16 *to, int64_t count) {
    for (int64_t i = 0; i < count; i += WIDTH) {
        const int64_t at = count < WIDTH ? 0 : std::min(i, count - WIDTH);  // the last vector overlaps the one before
        const Part lanes(count - at);
        store(to + at, lanes, load(from + at, lanes));
    }
}

// One line of blocks. RUN: the values of one row of a block, which lie together in x as in y; 0 where that is not known
// when compiling.
template <int RUN, class S, class T>
void line_of_blocks(const S *x, T *y, const SpaceToDepth &b, int64_t line) {
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

template <class S, class T> void padded_line(const S *x, T *y, const SpaceToDepth &b, int64_t line) {
    const int64_t there = line < b.height ? std::min(b.width, b.out_width) * b.channels : 0;
    convert(x + line * b.width * b.channels, y, there);
    std::memset(y + there, 0, (b.out_width * b.channels - there) * sizeof(T));
}

template <class S, class T>
void space_to_depth(const S *x, T *y, int64_t batch, int64_t height, int64_t width, int64_t channels,
                    int64_t out_height, int64_t out_width, int64_t side, int threads) {
    const SpaceToDepth b{height, width, channels, out_height, out_width, side};
    const auto make = side == 1               ? padded_line<S, T>
                      : side * channels == 12 ? line_of_blocks<12, S, T>  // conv1's
                                              : line_of_blocks<0, S, T>;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t line = 0; line < batch * out_height; line++)
        make(x + line / out_height * height * width * channels, y + line * out_width * side * side * channels, b,
             line % out_height);
}

}  // namespace
