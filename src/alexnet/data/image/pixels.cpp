// The library of this folder, built by pixels.py at first use: resampling (bicubic.h), decoding of JPEG crops (jpeg.h),
// and sums for the mean image and the colour covariance. All results are exact: they equal Pillow's, libjpeg-turbo's
// and NumPy's.
//
// Images are RGB, uint8 [height][width][3].

#include <algorithm>
#include <cstdint>
#include <memory>

#include "bicubic.h"
#include "exports.h"
#include "jpeg.h"
#include "lanes.h"

namespace {

constexpr int64_t STEP_BYTES = 3 * LANES;   // of 16 pixels
constexpr int64_t STEPS_PER_SUM = 1 << 14;  // times 255 * 255 is less than 2 ** 31

// Second moments: sums of R*R, R*G, R*B, G*G, G*B and B*B over pixels.
struct SecondMoments {
    int64_t sums[6] = {};

    void add(const uint8_t *pixel) {
        const int64_t r = pixel[0], g = pixel[1], b = pixel[2];
        const int64_t products[] = {r * r, r * g, r * b, g * g, g * b, b * b};
        for (int i = 0; i < 6; i++) sums[i] += products[i];
    }

    // 16 pixels per step, which are three vectors of bytes: each byte times itself and times the two that follow. Which
    // colours these are depends on the byte's position modulo 3. Reads two bytes beyond the last pixel.
    void add_steps(const uint8_t *bytes, int64_t steps) {
        Ints products[3][3] = {};
        for (int64_t step = 0; step < steps; step++, bytes += STEP_BYTES)
            for (int v = 0; v < 3; v++) {
                const Ints value = widen(bytes + v * LANES);
                for (int next = 0; next < 3; next++) products[v][next] += value * widen(bytes + v * LANES + next);
            }
        constexpr int INDEX[3][3] = {{0, 1, 2}, {3, 4, -1}, {5, -1, -1}};  // in `sums`, by colour and distance
        for (int v = 0; v < 3; v++)
            for (int next = 0; next < 3; next++)
                for (int lane = 0; lane < LANES; lane++) {
                    const int index = INDEX[(v * LANES + lane) % 3][next];
                    if (index >= 0) sums[index] += products[v][next][lane];
                }
    }
};

// Crops of `count` JPEG images of one size. done[i] becomes 0 if jpeg.h refuses image i.
struct Crops {
    const uint8_t *const *data;
    const int64_t *lengths;
    int64_t height, width;
    const int64_t (*crops)[3];  // top, left, mirrored (0 or 1)
    int64_t rows, columns;
    uint8_t *out, *done;

    void decode(int64_t i) const {
        // A pointer, since g++ would find the address of a thread_local object anew for every Huffman code.
        thread_local const std::unique_ptr<Jpeg> own(new Jpeg());
        Jpeg &jpeg = *own;
        const auto [top, left, mirrored] = crops[i];
        done[i] =
            columns >= LANES && jpeg.parse(data[i], lengths[i], height, width) && jpeg.decode_rows(top, top + rows);
        if (done[i]) jpeg.write_crop(top, left, rows, columns, mirrored, out + i * rows * columns * 3);
    }
};

void decode_crop(void *crops, int64_t i) { static_cast<const Crops *>(crops)->decode(i); }

using ForEach = void (*)(void (*work)(void *, int64_t), void *what, int64_t count, int threads);

void resize_box(const uint8_t *image, int64_t height, int64_t width, float left, float top, float right, float bottom,
                int64_t size, uint8_t *out) {
    const float box[] = {left, top, right, bottom};
    resize(image, height, width, box, size, out);
}

// Adds an image of `pixels` pixels to `first`, uint16 [pixels][3], and its SecondMoments to `second`, [6].
void add_moments(const uint8_t *image, int64_t pixels, uint16_t *first, int64_t *second) {
    for (int64_t i = 0; i < 3 * pixels; i++) first[i] += image[i];
    SecondMoments moments;
    const int64_t steps = std::max<int64_t>(0, (pixels - 1) / LANES);  // leaves a pixel for the bytes beyond
    for (int64_t step = 0; step < steps; step += STEPS_PER_SUM)
        moments.add_steps(image + step * STEP_BYTES, std::min(STEPS_PER_SUM, steps - step));
    for (int64_t pixel = steps * LANES; pixel < pixels; pixel++) moments.add(image + 3 * pixel);
    for (int i = 0; i < 6; i++) second[i] += moments.sums[i];
}

// See Crops. On `threads` threads by `for_each`; on the calling thread if that is null.
void decode_crops(int64_t count, const uint8_t *const *data, const int64_t *lengths, int64_t height, int64_t width,
                  const int64_t (*crops)[3], int64_t rows, int64_t columns, uint8_t *out, uint8_t *done,
                  ForEach for_each, int threads) {
    Crops work{data, lengths, height, width, crops, rows, columns, out, done};
    if (for_each) return for_each(decode_crop, &work, count, threads);
    for (int64_t i = 0; i < count; i++) work.decode(i);
}

}  // namespace

extern "C" const Export *alexnet_exports() {
    static const Export all[] = {exported("resize", resize_box),
                                 exported("add_moments", add_moments),
                                 exported("decode_crops", decode_crops),
                                 exported("instruction_set", instruction_set),
                                 {}};
    return all;
}
