// The memory-bound layers of AlexNet for CPUs, and those that oneDNN is slow at: local response normalisation, max
// pooling, both of them (and the ReLU before) in one pass, normalisation within each map, images less their mean,
// images as blocks of pixels, conv1, fully connected layers, and the momentum update.
//
// Activations are channels last ([images, height, width, channels] in memory), float32 or bfloat16; arithmetic is
// float32, results are rounded to nearest even. Built by kernels.py at first use and called through ctypes, hence no
// torch headers. Vector code is AVX-512; everything has a plain loop for other processors.

#include <cstdint>
#include <vector>

#include "conv1.h"
#include "conv_gradient.h"
#include "exports.h"
#include "linear.h"
#include "lrn.h"
#include "momentum.h"
#include "pool.h"
#include "space_to_depth.h"
#include "spatial_norm.h"

namespace {

constexpr int64_t BAND = 8;      // rows of pooled output made together from one buffer
constexpr int64_t CHUNK = 2048;  // weights updated together

template <class T>
void lrn(const T *x, T *y, int64_t pixels, int64_t channels, int64_t groups, int64_t half, bool relu, float alpha, float k, int threads) {
    const Norm n{channels, groups, half, relu, alpha, k};
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < pixels; i++) lrn_pixel(x + i * n.channels, y + i * n.channels, n);
}

template <class T>
void lrn_gradient(const T *x, const T *g, T *dx, int64_t pixels, int64_t channels, int64_t groups, int64_t half, bool relu, float alpha, float k, int threads) {
    const Norm n{channels, groups, half, relu, alpha, k};
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < pixels; i++) {
        const int64_t at = i * n.channels;
        lrn_pixel_gradient(x + at, g + at, dx + at, n);
    }
}

template <class T>
void pool(const T *x, T *y, uint8_t *place, int64_t batch, int64_t height, int64_t width, int64_t channels, int64_t out_height, int64_t out_width, int64_t kernel, int64_t stride, int threads) {
    const Pool p{height, width, channels, out_height, out_width, kernel, stride};
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t line = 0; line < batch * p.out_height; line++) {
        const T *image = x + line / p.out_height * p.height * p.width * p.channels;
        for (int64_t column = 0; column < p.out_width; column++) {
            const int64_t at = (line * p.out_width + column) * p.channels;
            pool_pixel(image, y + at, place ? place + at : nullptr, p, line % p.out_height, column);
        }
    }
}

template <class T>
void pool_gradient(const T *g, const uint8_t *place, T *dx, int64_t batch, int64_t height, int64_t width, int64_t channels, int64_t out_height, int64_t out_width, int64_t kernel, int64_t stride, int threads) {
    const Pool p{height, width, channels, out_height, out_width, kernel, stride};
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t line = 0; line < batch * p.height; line++) {
        const int64_t image = line / p.height * p.out_height * p.out_width * p.channels;
        for (int64_t w = 0; w < p.width; w++)
            pool_pixel_gradient(
                g + image, place + image, dx + (line * p.width + w) * p.channels, p, line % p.height, w);
    }
}

// Normalisation and pooling, with the ReLU before or without: the rows under a line of windows are normalised into a
// buffer that stays in cache.
template <class T>
void stage(const T *x, T *y, uint8_t *place, int64_t batch, int64_t height, int64_t width, int64_t channels, int64_t out_height, int64_t out_width, int64_t kernel, int64_t stride, int64_t groups, int64_t half, bool relu, float alpha, float k, int threads) {
    const Pool p{height, width, channels, out_height, out_width, kernel, stride};
    const Norm n{channels, groups, half, relu, alpha, k};
    const int64_t bands = (p.out_height + BAND - 1) / BAND, row_size = p.width * p.channels;
#pragma omp parallel num_threads(threads)
    {
        std::vector<T> buffer(p.kernel * row_size);  // the image's rows from `top` up to `end`
        Pool line = p;                               // one line of windows, over the buffer
#pragma omp for schedule(static)
        for (int64_t band = 0; band < batch * bands; band++) {
            const int64_t image = band / bands, first = band % bands * BAND;
            int64_t top = first * p.stride, end = top;
            for (int64_t row = first; row < std::min(first + BAND, p.out_height); row++) {
                const int64_t next = row * p.stride;
                if (end > next) std::copy(&buffer[(next - top) * row_size], &buffer[(end - top) * row_size], &buffer[0]);
                top = next;
                line.height = std::min(p.kernel, p.height - top);
                for (end = std::max(end, top); end < top + line.height; end++)
                    for (int64_t w = 0; w < p.width; w++) {
                        const int64_t pixel = (image * p.height + end) * p.width + w;
                        lrn_pixel(x + pixel * p.channels, &buffer[((end - top) * p.width + w) * p.channels], n);
                    }
                for (int64_t column = 0; column < p.out_width; column++) {
                    const int64_t at = ((image * p.out_height + row) * p.out_width + column) * p.channels;
                    pool_pixel(buffer.data(), y + at, place ? place + at : nullptr, line, 0, column);
                }
            }
        }
    }
}

template <class T>
void stage_gradient(const T *x, const T *g, const uint8_t *place, T *dx, int64_t batch, int64_t height, int64_t width, int64_t channels, int64_t out_height, int64_t out_width, int64_t kernel, int64_t stride, int64_t groups, int64_t half, bool relu, float alpha, float k, int threads) {
    const Pool p{height, width, channels, out_height, out_width, kernel, stride};
    const Norm n{channels, groups, half, relu, alpha, k};
#pragma omp parallel num_threads(threads)
    {
        std::vector<float> normed(p.channels);  // the gradient of one pixel after normalisation
#pragma omp for schedule(static)
        for (int64_t line = 0; line < batch * p.height; line++) {
            const int64_t image = line / p.height * p.out_height * p.out_width * p.channels;
            for (int64_t w = 0; w < p.width; w++) {
                const int64_t at = (line * p.width + w) * p.channels;
                pool_pixel_gradient(g + image, place + image, normed.data(), p, line % p.height, w);
                lrn_pixel_gradient(x + at, normed.data(), dx + at, n);
            }
        }
    }
}

template <class S, class T>
void blocks(const S *x, T *y, int64_t batch, int64_t height, int64_t width, int64_t channels, int64_t out_height, int64_t out_width, int64_t side, int threads) {
    const Blocks b{height, width, channels, out_height, out_width, side};
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t line = 0; line < batch * b.out_height; line++) {
        const S *image = x + line / b.out_height * b.height * b.width * b.channels;
        T *to = y + line * b.out_width * b.side * b.side * b.channels;
        const int64_t number = line % b.out_height;
        if (b.side == 1)
            padded_line(image, to, b, number);
        else if (b.side * b.channels == 12)
            blocks_line<12>(image, to, b, number);
        else
            blocks_line<0>(image, to, b, number);
    }
}

// Patches of bytes, each less the part of the mean image at its offset (mirrored where it is), and with its shift of
// colour: x = patch - (mean - shift).
template <class T>
void remove_mean(const uint8_t *patches, const float *mean, const float *mirrored_mean, const int64_t *offsets,
                 const uint8_t *mirrored, const float *shifts, T *x, int64_t batch, int64_t crop, int64_t size,
                 int threads) {
#pragma omp parallel num_threads(threads)
    {
        std::vector<float> shift(3 * crop);  // of a row
#pragma omp for schedule(static)
        for (int64_t i = 0; i < batch; i++) {
            for (int64_t j = 0; j < 3 * crop; j++) shift[j] = shifts[3 * i + j % 3];
            const int64_t top = offsets[2 * i], left = mirrored[i] ? size - crop - offsets[2 * i + 1] : offsets[2 * i + 1];
            for (int64_t row = 0; row < crop; row++) {
                const float *from = (mirrored[i] ? mirrored_mean : mean) + 3 * ((top + row) * size + left);
                const int64_t at = 3 * (i * crop + row) * crop;
#pragma omp simd
                for (int64_t j = 0; j < 3 * crop; j++) narrow(float(patches[at + j]) - (from[j] - shift[j]), x[at + j]);
            }
        }
    }
}

template <class G>
void momentum_update(float *w, float *v, const G *g, int64_t count, float rate, float momentum, float decay, int threads) {
    const Momentum m{rate, momentum, decay};
    const int64_t chunks = (count + CHUNK - 1) / CHUNK;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const int64_t start = chunk * CHUNK;
        m.update(w + start, v + start, g + start, std::min(CHUNK, count - start));
    }
}

// Calls work(what, i) for every i < count, whoever is free the next one.
void each(void (*work)(void *, int64_t), void *what, int64_t count, int threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t i = 0; i < count; i++) work(what, i);
}

}  // namespace

#define FLOAT32(NAME) exported(#NAME "_float32", NAME<float>)
#define BFLOAT16(NAME) exported(#NAME "_bfloat16", NAME<bfloat16>)
#define BOTH(NAME) FLOAT32(NAME), BFLOAT16(NAME)

extern "C" const Export *alexnet_exports() {
    static const Export all[] = {
#ifdef _OPENMP
        exported("each", each),
#endif
#ifdef ALEXNET_FMA
        FLOAT32(conv1_gradient),
        FLOAT32(conv_gradient),
        FLOAT32(linear_gradient_input),
        FLOAT32(linear_gradient_weight),
        FLOAT32(linear_update),
#endif
#ifdef ALEXNET_PAIRS
        exported("conv1_bfloat16", conv1),
        exported("linear_bfloat16", linear),
        BFLOAT16(conv1_gradient),
        BFLOAT16(conv_gradient),
        BFLOAT16(linear_gradient_input),
        BFLOAT16(linear_gradient_weight),
        BFLOAT16(linear_update),
#endif
        BOTH(lrn),
        BOTH(lrn_gradient),
        BOTH(pool),
        BOTH(pool_gradient),
        BOTH(stage),
        BOTH(stage_gradient),
        BOTH(spatial_norm),
        BOTH(spatial_norm_gradient),
        BOTH(remove_mean),
        BOTH(momentum_update),
        exported("blocks_float32", blocks<float, float>),
        exported("blocks_bfloat16", blocks<bfloat16, bfloat16>),
        exported("blocks_from_float32_bfloat16", blocks<float, bfloat16>),
        {}};
    return all;
}
