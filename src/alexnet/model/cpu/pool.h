// Max pooling (paper, section 3.4) of x[batch][height][width][channels]: windows of kernel x kernel pixels, `stride`
// apart, clipped at the far edges; y[batch][out_height][out_width][channels] and, of y's shape, the index of the
// maximum within its window, row * kernel + column, in one byte. As in PyTorch, the first maximum counts, and the last
// NaN.
//
// The gradient of a pixel is the sum of the gradients of those windows in which it was the maximum.
#pragma once

#include <algorithm>

#include "vector.h"

namespace {

struct Pool {
    int64_t height, width, channels, out_height, out_width, kernel, stride;
};

// ---- One window ----

// Calls work(c, lanes) for the channels from c on, a vector at a time.
template <class Work> inline __attribute__((always_inline)) void for_vectors(int64_t c, int64_t channels, Work work) {
    for (; c + WIDTH <= channels; c += WIDTH) work(c, Whole(WIDTH));
    if (c < channels) work(c, Part(channels - c));
}

// The maxima of one vector of channels, and their index where INDEX asks for it; x is the window's first pixel.
template <bool INDEX, class Lanes, class T>
inline void pool_with_nan(const T *x, T *y, uint8_t *index, Lanes lanes, const Pool &p, int64_t kernel, int64_t rows,
                          int64_t columns) {
    Floats best = load(x, lanes);
    Integers where{};
    for (int64_t h = 0; h < rows; h++)
        for (int64_t w = 0; w < columns; w++) {
            const Floats value = load(x + (h * p.width + w) * p.channels, lanes);
            const Mask better = either(greater(value, best), is_nan(value));
            best = select(better, value, best);
            where = raised(better, int32_t(h * kernel + w), where);
        }
    store(y, lanes, best);
    if (INDEX) store_bytes(index, lanes, where);
}

// The same, but faster: false, with nothing written, where one of the values is NaN.
template <bool INDEX, class Lanes>
inline bool pool_without_nan(const float *x, float *y, uint8_t *index, Lanes lanes, const Pool &p, int64_t kernel,
                             int64_t rows, int64_t columns) {
    Floats best = load(x, lanes);
    Integers where{};
    Mask nan = is_nan(best);
    for (int64_t h = 0; h < rows; h++)
        for (int64_t w = 0; w < columns; w++) {
            if (h + w == 0) continue;
            const Floats value = load(x + (h * p.width + w) * p.channels, lanes);
            nan = either(nan, is_nan(value));
            if (INDEX) where = raised(greater(value, best), int32_t(h * kernel + w), where);
            best = larger(value, best);
        }
    if (any(nan)) return false;
    store(y, lanes, best);
    if (INDEX) store_bytes(index, lanes, where);
    return true;
}

// Of bfloat16, as many as a register holds: they are compared as integers.
template <bool INDEX>
inline bool pool_without_nan(const bfloat16 *x, bfloat16 *y, uint8_t *index, const Pool &p, int64_t kernel,
                             int64_t rows, int64_t columns) {
    constexpr int16_t MAGNITUDE = 0x7fff, INFINITE = 0x7f80;
    Shorts best{}, largest{}, where{};
    for (int64_t h = 0; h < rows; h++)
        for (int64_t w = 0; w < columns; w++) {
            const Shorts bits = load_as<Shorts>(x + (h * p.width + w) * p.channels);
            const Shorts size = bits & MAGNITUDE, sign = bits >> 15;  // 0 or -1
            const Shorts value = (size ^ sign) - sign;                // in the order of the numbers; -0 is 0
            largest = larger(largest, size);
            const bool first = h + w == 0;
            if (INDEX && !first) where = raised(greater(value, best), int16_t(h * kernel + w), where);
            best = first ? value : larger(value, best);
        }
    if (any(greater(largest, Shorts{} + INFINITE))) return false;
    const Shorts sign = best >> 15;
    store_as(y, ((best ^ sign) - sign) | (sign << 15));
    if (INDEX) store_bytes(index, where);
    return true;
}

// The maximum of `rows` x `columns` pixels at x, and its index where INDEX asks for it.
template <bool INDEX>
inline __attribute__((always_inline)) void pool_window(const float *x, float *y, uint8_t *index, const Pool &p,
                                                       int64_t kernel, int64_t rows, int64_t columns) {
    constexpr bool HAS_MASKS = sizeof(Mask) < sizeof(Floats);  // then asking for NaN costs next to nothing
    for_vectors(0, p.channels, [&](int64_t c, auto lanes) {
        if (HAS_MASKS || !pool_without_nan<INDEX>(x + c, y + c, index + c, lanes, p, kernel, rows, columns))
            pool_with_nan<INDEX>(x + c, y + c, index + c, lanes, p, kernel, rows, columns);
    });
}

template <bool INDEX>
inline __attribute__((always_inline)) void pool_window(const bfloat16 *x, bfloat16 *y, uint8_t *index, const Pool &p,
                                                       int64_t kernel, int64_t rows, int64_t columns) {
    constexpr int64_t TOGETHER = 2 * WIDTH;
    const auto vector = [&](int64_t c, auto lanes) {
        pool_with_nan<INDEX>(x + c, y + c, index + c, lanes, p, kernel, rows, columns);
    };
    int64_t c = 0;
    for (; c + TOGETHER <= p.channels; c += TOGETHER)
        if (!pool_without_nan<INDEX>(x + c, y + c, index + c, p, kernel, rows, columns))
            for_vectors(c, c + TOGETHER, vector);
    for_vectors(c, p.channels, vector);
}

// One pixel of the output; x is the whole image, y and index are the pixel's. Without `index` only the maximum.
template <class T> void pool_pixel(const T *x, T *y, uint8_t *index, const Pool &p, int64_t row, int64_t column) {
    const int64_t top = row * p.stride, left = column * p.stride;
    const int64_t rows = std::min(p.kernel, p.height - top), columns = std::min(p.kernel, p.width - left);
    x += (top * p.width + left) * p.channels;
    const auto make = [&](int64_t kernel, int64_t rows, int64_t columns) {
        index ? pool_window<true>(x, y, index, p, kernel, rows, columns)
              : pool_window<false>(x, y, index, p, kernel, rows, columns);
    };
    rows == 3 && columns == 3 && p.kernel == 3 ? make(3, 3, 3) : make(p.kernel, rows, columns);  // unrolled
}

// ---- The gradient of one pixel ----

// From the rows x columns windows that hold the pixel, known when compiling where ROWS and COLUMNS give them. g and
// index are the first window's, and `here` is the pixel's index in it.
template <int ROWS, int COLUMNS, class T, class D>
inline void window_gradients(const T *g, const uint8_t *index, D *dx, const Pool &p, int64_t rows, int64_t columns,
                             int64_t here) {
    if (ROWS > 0) rows = ROWS, columns = COLUMNS;
    const int64_t channels = p.channels, line = p.out_width * channels, stride = p.stride, kernel = p.kernel;
    for_vectors(0, channels, [&](int64_t c, auto lanes) {
        Floats sum{};
        for (int64_t row = 0; row < rows; row++)
            for (int64_t column = 0; column < columns; column++) {
                const int64_t at = row * line + column * channels + c;
                const Mask maximal = equal_bytes(index + at, lanes, uint8_t(here - (row * kernel + column) * stride));
                sum = add_where(maximal, sum, load(g + at, lanes));
            }
        store(dx + c, lanes, sum);
    });
}

// What the pixel (h, w) receives; g and index are the whole image's.
template <class T, class D>
void pool_pixel_gradient(const T *g, const uint8_t *index, D *dx, const Pool &p, int64_t h, int64_t w) {
    const int64_t top = h < p.kernel ? 0 : (h - p.kernel) / p.stride + 1;
    const int64_t left = w < p.kernel ? 0 : (w - p.kernel) / p.stride + 1;
    const int64_t rows = std::min(h / p.stride, p.out_height - 1) - top + 1;
    const int64_t columns = std::min(w / p.stride, p.out_width - 1) - left + 1;
    const int64_t first = (top * p.out_width + left) * p.channels;
    const int64_t here = (h - top * p.stride) * p.kernel + w - left * p.stride;
    const auto make = [&](auto gradients) { gradients(g + first, index + first, dx, p, rows, columns, here); };
    if (rows == 1 && columns == 1) return make(window_gradients<1, 1, T, D>);
    if (rows == 1 && columns == 2) return make(window_gradients<1, 2, T, D>);
    if (rows == 2 && columns == 1) return make(window_gradients<2, 1, T, D>);
    if (rows == 2 && columns == 2) return make(window_gradients<2, 2, T, D>);
    make(window_gradients<0, 0, T, D>);
}

// ---- Kernels ----

template <class T>
void pool(const T *x, T *y, uint8_t *index, int64_t batch, int64_t height, int64_t width, int64_t channels,
          int64_t out_height, int64_t out_width, int64_t kernel, int64_t stride, int threads) {
    const Pool p{height, width, channels, out_height, out_width, kernel, stride};
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t line = 0; line < batch * out_height; line++) {
        const T *image = x + line / out_height * height * width * channels;
        for (int64_t column = 0; column < out_width; column++) {
            const int64_t at = (line * out_width + column) * channels;
            pool_pixel(image, y + at, index ? index + at : nullptr, p, line % out_height, column);
        }
    }
}

// g and index are of the output's shape, dx of the input's.
template <class T>
void pool_gradient(const T *g, const uint8_t *index, T *dx, int64_t batch, int64_t height, int64_t width,
                   int64_t channels, int64_t out_height, int64_t out_width, int64_t kernel, int64_t stride,
                   int threads) {
    const Pool p{height, width, channels, out_height, out_width, kernel, stride};
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t line = 0; line < batch * height; line++) {
        const int64_t image = line / height * out_height * out_width * channels;
        for (int64_t w = 0; w < width; w++)
            pool_pixel_gradient(g + image, index + image, dx + (line * width + w) * channels, p, line % height, w);
    }
}

}  // namespace
