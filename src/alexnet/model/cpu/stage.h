// Local response normalisation and max pooling in one pass (lrn.h, pool.h), with the ReLU before or without: the rows
// under a line of windows are normalised into a buffer that stays in cache, and pooled from there.
//
// x[batch][height][width][channels], y and index [batch][out_height][out_width][channels]. The gradient recomputes what
// it needs of the normalisation from x; between the two it is float32.
#pragma once

#include <algorithm>
#include <vector>

#include "local.h"
#include "lrn.h"
#include "pool.h"

namespace {

constexpr int64_t BAND = 8;  // rows of y that are made together from one buffer

template <class T>
void stage(const T *x, T *y, uint8_t *index, int64_t batch, int64_t height, int64_t width, int64_t channels,
           int64_t out_height, int64_t out_width, int64_t kernel, int64_t stride, int64_t groups, int64_t half,
           bool relu, float alpha, float k, int threads) {
    const Lrn n{channels, groups, half, relu, alpha, k};
    const int64_t bands = (out_height + BAND - 1) / BAND, row_size = width * channels;
    Shortage shortage;
#pragma omp parallel num_threads(threads)
    {
        Local<std::vector<T>> own(shortage, kernel * row_size);  // the image's rows from `top` up to `end`
        Pool line{height, width, channels, out_height, out_width, kernel, stride};  // one line of windows, over them
#pragma omp for schedule(static)
        for (int64_t band = 0; band < batch * bands; band++) {
            if (!own) continue;
            std::vector<T> &buffer = *own;
            const int64_t image = band / bands, first = band % bands * BAND;
            int64_t top = first * stride, end = top;
            for (int64_t row = first; row < std::min(first + BAND, out_height); row++) {
                const int64_t next = row * stride;
                if (end > next)
                    std::copy(&buffer[(next - top) * row_size], &buffer[(end - top) * row_size], &buffer[0]);
                top = next;
                line.height = std::min(kernel, height - top);
                for (end = std::max(end, top); end < top + line.height; end++)
                    for (int64_t w = 0; w < width; w++) {
                        const int64_t pixel = (image * height + end) * width + w;
                        lrn_pixel(x + pixel * channels, &buffer[((end - top) * width + w) * channels], n);
                    }
                for (int64_t column = 0; column < out_width; column++) {
                    const int64_t at = ((image * out_height + row) * out_width + column) * channels;
                    pool_pixel(buffer.data(), y + at, index ? index + at : nullptr, line, 0, column);
                }
            }
        }
    }
    shortage.check();
}

template <class T>
void stage_gradient(const T *x, const T *g, const uint8_t *index, T *dx, int64_t batch, int64_t height, int64_t width,
                    int64_t channels, int64_t out_height, int64_t out_width, int64_t kernel, int64_t stride,
                    int64_t groups, int64_t half, bool relu, float alpha, float k, int threads) {
    const Pool p{height, width, channels, out_height, out_width, kernel, stride};
    const Lrn n{channels, groups, half, relu, alpha, k};
    Shortage shortage;
#pragma omp parallel num_threads(threads)
    {
        Local<std::vector<float>> normed(shortage, channels);  // the gradient of one pixel after normalisation
#pragma omp for schedule(static)
        for (int64_t line = 0; line < batch * height; line++) {
            if (!normed) continue;
            const int64_t image = line / height * out_height * out_width * channels;
            for (int64_t w = 0; w < width; w++) {
                const int64_t at = (line * width + w) * channels;
                pool_pixel_gradient(g + image, index + image, normed->data(), p, line % height, w);
                lrn_pixel_gradient(x + at, normed->data(), dx + at, n);
            }
        }
    }
    shortage.check();
}

}  // namespace
