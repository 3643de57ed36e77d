// The windows of size x size pixels that a locally connected layer looks at, copied side by side: of
// x[batch][height][width][channels] with `padding` zeros around it,
// y[out_height][out_width][batch][size][size][channels] where out_height = height + 2 padding - size + 1. The values of
// a window's row are neighbours in x as in y.
//
// In the gradient each pixel receives the sum over the windows that hold it.
#pragma once

#include <algorithm>
#include <vector>

#include "local.h"
#include "vector.h"

namespace {

struct Windows {
    int64_t height, width, channels, size, padding;

    int64_t rows() const { return height + 2 * padding - size + 1; }
    int64_t columns() const { return width + 2 * padding - size + 1; }
    int64_t image() const { return height * width * channels; }
    int64_t values() const { return size * size * channels; }

    // Calls work(in_window, in_image, count) for each run of values that the window has in common with the image.
    template <class Work> void runs(int64_t window, Work work) const {
        const int64_t top = window / columns() - padding, left = window % columns() - padding;
        const int64_t begin = std::max<int64_t>(0, -left), end = std::min(size, width - left);
        for (int64_t i = std::max<int64_t>(0, -top); i < std::min(size, height - top) && begin < end; i++)
            work((i * size + begin) * channels, ((top + i) * width + left + begin) * channels,
                 (end - begin) * channels);
    }
};

template <class T>
void windows(const T *x, T *y, int64_t batch, int64_t height, int64_t width, int64_t channels, int64_t size,
             int64_t padding, int threads) {
    const Windows s{height, width, channels, size, padding};
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t at = 0; at < s.rows() * s.columns() * batch; at++) {
        const T *from = x + at % batch * s.image();
        T *to = y + at * s.values();
        std::fill_n(to, padding ? s.values() : 0, T{});
        s.runs(at / batch,
               [&](int64_t window, int64_t image, int64_t count) { std::copy_n(from + image, count, to + window); });
    }
}

template <class T>
void windows_gradient(const T *g, T *dx, int64_t batch, int64_t height, int64_t width, int64_t channels, int64_t size,
                      int64_t padding, int threads) {
    const Windows s{height, width, channels, size, padding};
    Shortage shortage;
#pragma omp parallel num_threads(threads)
    {
        Local<std::vector<float>> own(shortage, s.image());
#pragma omp for schedule(static)
        for (int64_t i = 0; i < batch; i++) {
            if (!own) continue;
            float *sums = own->data();
            std::fill_n(sums, s.image(), 0.0f);
            for (int64_t window = 0; window < s.rows() * s.columns(); window++) {
                const T *from = g + (window * batch + i) * s.values();
                s.runs(window, [&](int64_t in_window, int64_t in_image, int64_t count) {
                    for (int64_t j = 0; j < count; j += WIDTH) {
                        const Part lanes(count - j);
                        float *sum = sums + in_image + j;
                        store(sum, lanes, load(sum, lanes) + load(from + in_window + j, lanes));
                    }
                });
            }
            for (int64_t j = 0; j < s.image(); j += WIDTH) {
                const Part lanes(s.image() - j);
                store(dx + i * s.image() + j, lanes, load(sums + j, lanes));
            }
        }
    }
    shortage.check();
}

}  // namespace
