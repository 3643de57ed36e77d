// What is done to the pixels of pictures on their way into a store and out of it: resizing, sums for the mean picture
// and the colour covariance, and cutting out patches. Everything is exact, and equals what Pillow and NumPy give.
//
// Pictures are RGB, uint8 [height][width][3]. Built by pixels.py at first use and called through ctypes.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "bicubic.h"
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

// The pixels of a row in turn, from the last to the first.
inline void mirror(const uint8_t *from, int64_t pixels, uint8_t *to) {
    int64_t done = 0;
    for (; done + 5 < pixels; done += 5) {  // the byte before five pixels, and the byte after them, are theirs too
        const Bytes five = load(from + 3 * (pixels - done - 5) - 1);
        store(to + 3 * done, SHUFFLE(five, five, 13, 14, 15, 10, 11, 12, 7, 8, 9, 4, 5, 6, 1, 2, 3, 0));
    }
    for (; done < pixels; done++) std::memcpy(to + 3 * done, from + 3 * (pixels - done - 1), 3);
}

}  // namespace

extern "C" {

void alexnet_resize(const uint8_t *picture, int64_t height, int64_t width, float left, float top, float right,
                    float bottom, int64_t size, uint8_t *out) {
    const float box[] = {left, top, right, bottom};
    resize(picture, height, width, box, size, out);
}

// Adds the values of a picture to `values`, and the sums of their products to `products`, in the order of Products.
void alexnet_add(const uint8_t *picture, int64_t pixels, uint16_t *values, int64_t *products) {
    for (int64_t i = 0; i < 3 * pixels; i++) values[i] += picture[i];
    Products sums;
    const int64_t steps = std::max<int64_t>(0, (pixels - 1) / LANES);  // a step looks two bytes beyond its end
    for (int64_t step = 0; step < steps; step += MOST_STEPS)
        sums.add_steps(picture + step * STEP, std::min(MOST_STEPS, steps - step));
    for (int64_t pixel = steps * LANES; pixel < pixels; pixel++) sums.add(picture + 3 * pixel);
    for (int i = 0; i < 6; i++) products[i] += sums.of[i];
}

// The patch of crop x crop pixels at (top, left) of a picture of `width` pixels, mirrored or not.
void alexnet_patch(const uint8_t *picture, int64_t width, int64_t top, int64_t left, int64_t crop, int mirrored,
                   uint8_t *out) {
    for (int64_t y = 0; y < crop; y++) {
        const uint8_t *from = picture + 3 * ((top + y) * width + left);
        if (mirrored) mirror(from, crop, out + 3 * y * crop);
        else std::memcpy(out + 3 * y * crop, from, 3 * crop);
    }
}

}  // extern "C"
