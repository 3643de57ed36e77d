// What is done to the pixels of images on their way into a store and out of it: resizing, sums for the mean image
// and the colour covariance, and decoding patches. Everything is exact, and equals what Pillow, NumPy and libjpeg-turbo
// give.
//
// Images are RGB, uint8 [height][width][3]. Built by pixels.py at first use and called through ctypes.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

#include "bicubic.h"
#include "exports.h"
#include "jpeg.h"
#include "vector.h"

namespace {

constexpr int64_t STEP = 3 * LANES;       // bytes of 16 pixels
constexpr int64_t MOST_STEPS = 1 << 14;   // * 255 * 255 < 2 ** 31

// Red and red, red and green, red and blue, green and green, green and blue, blue and blue.
struct Products {
    int64_t of[6] = {};

    void add(const uint8_t *pixel) {
        const int64_t r = pixel[0], g = pixel[1], b = pixel[2];
        const int64_t products[] = {r * r, r * g, r * b, g * g, g * b, b * b};
        for (int i = 0; i < 6; i++) of[i] += products[i];
    }

    // 16 pixels at a time: each value with itself and with the two that follow. Lanes of 48 have a colour each.
    void add_steps(const uint8_t *at, int64_t steps) {
        Ints sums[3][3] = {};
        for (int64_t step = 0; step < steps; step++, at += STEP)
            for (int v = 0; v < 3; v++) {
                const Ints value = widen(at + v * LANES);
                for (int next = 0; next < 3; next++) sums[v][next] += value * widen(at + v * LANES + next);
            }
        constexpr int PRODUCT[3][3] = {{0, 1, 2}, {3, 4, -1}, {5, -1, -1}};  // by colour and distance
        for (int v = 0; v < 3; v++)
            for (int next = 0; next < 3; next++)
                for (int lane = 0; lane < LANES; lane++) {
                    const int product = PRODUCT[(v * LANES + lane) % 3][next];
                    if (product >= 0) of[product] += sums[v][next][lane];
                }
    }
};

// Patches of rows x columns pixels of `count` JPEG images of one size, and which of them are done.
struct Patches {
    const uint8_t *const *data;
    const int64_t *lengths;
    int64_t height, width;
    const int64_t (*places)[3];  // top, left, and 1 where it is mirrored
    int64_t rows, columns;
    uint8_t *out, *done;

    void decode(int64_t i) const {
        thread_local const std::unique_ptr<Jpeg> own(new Jpeg());  // a pointer: the object itself g++ would look for
        Jpeg &jpeg = *own;                                        // at every code
        const auto [top, left, mirrored] = places[i];
        done[i] = columns >= LANES && jpeg.read(data[i], lengths[i], height, width) && jpeg.decode(top, top + rows);
        if (done[i]) jpeg.write(top, left, rows, columns, mirrored, out + i * rows * columns * 3);
    }
};

void decode_patch(void *patches, int64_t i) { static_cast<const Patches *>(patches)->decode(i); }

using Each = void (*)(void (*work)(void *, int64_t), void *what, int64_t count, int threads);

void resize_box(const uint8_t *image, int64_t height, int64_t width, float left, float top, float right, float bottom,
                int64_t size, uint8_t *out) {
    const float box[] = {left, top, right, bottom};
    resize(image, height, width, box, size, out);
}

// Adds the values of an image to `values`, and the sums of their products to `products`, in the order of Products.
void add_moments(const uint8_t *image, int64_t pixels, uint16_t *values, int64_t *products) {
    for (int64_t i = 0; i < 3 * pixels; i++) values[i] += image[i];
    Products sums;
    const int64_t steps = std::max<int64_t>(0, (pixels - 1) / LANES);  // a step looks two bytes beyond its end
    for (int64_t step = 0; step < steps; step += MOST_STEPS)
        sums.add_steps(image + step * STEP, std::min(MOST_STEPS, steps - step));
    for (int64_t pixel = steps * LANES; pixel < pixels; pixel++) sums.add(image + 3 * pixel);
    for (int i = 0; i < 6; i++) products[i] += sums.of[i];
}

// See Patches: done[i] is 0 where jpeg.h refuses an image. By the threads behind `each`, or by this one without.
void decode(int64_t count, const uint8_t *const *data, const int64_t *lengths, int64_t height, int64_t width,
            const int64_t (*places)[3], int64_t rows, int64_t columns, uint8_t *out, uint8_t *done, Each each,
            int threads) {
    Patches patches{data, lengths, height, width, places, rows, columns, out, done};
    if (each) return each(decode_patch, &patches, count, threads);
    for (int64_t i = 0; i < count; i++) patches.decode(i);
}

}  // namespace

extern "C" const Export *alexnet_exports() {
    static const Export all[] = {
        exported("resize", resize_box), exported("add_moments", add_moments), exported("decode", decode), {}};
    return all;
}
