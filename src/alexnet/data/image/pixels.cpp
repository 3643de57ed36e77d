// The library of this folder, built by pixels.py at first use: resampling (bicubic.h), decoding of crops
// (crops.h), also of the rows of a store (rows.h), and sums for the mean image and the colour covariance. All results
// are exact: they equal Pillow's, libjpeg-turbo's and NumPy's.
//
// Images are RGB, uint8 [height][width][3].

#include <algorithm>
#include <cstdint>

#include "bicubic.h"
#include "exports.h"
#include "lanes.h"
#include "rows.h"
#include "threads.h"

namespace {

constexpr int64_t STEP_BYTES = 3 * LANES;   // of 16 pixels
constexpr int64_t STEPS_PER_SUM = 1 << 14;  // times 255 * 255 is less than 2 ** 31
constexpr int64_t TASK_BYTES = 1 << 16;     // of pixels: of smaller images, a thread takes several at a time

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

// Crops of images that are in memory.
struct EncodedCrops {
    Crops crops;
    const uint8_t *const *data;
    const int64_t *lengths;

    void decode(int64_t i) const { crops.decode(i, data[i], lengths[i]); }
};

void decode_crop(void *crops, int64_t i) { static_cast<const EncodedCrops *>(crops)->decode(i); }

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
    EncodedCrops work{{height, width, crops, rows, columns, out, done}, data, lengths};
    if (for_each) return for_each(decode_crop, &work, count, threads);
    for (int64_t i = 0; i < count; i++) work.decode(i);
}

// Null if the system allows no thread.
Threads *start_threads(int count) {
    auto *threads = new Threads(count);
    if (threads->count()) return threads;
    delete threads;
    return nullptr;
}

void end_threads(Threads *threads) { delete threads; }

// See StoredCrops. Begins a job, which uses all that is given until it is done.
Threads::Job *begin_crops(Threads *threads, int64_t shard_count, const Shard *shards, const int64_t *ends,
                          int64_t count, const int64_t *indices, int64_t height, int64_t width,
                          const int64_t (*crops)[3], int64_t rows, int64_t columns, uint8_t *out, uint8_t *done) {
    const StoredCrops work{{height, width, crops, rows, columns, out, done}, shard_count, shards, ends, indices};
    const int64_t together = std::max<int64_t>(1, TASK_BYTES / std::max<int64_t>(1, 3 * height * width));
    const auto decode = [work, count, together](int64_t task) {
        for (int64_t i = task * together; i < std::min(count, (task + 1) * together); i++) work.decode(i);
    };
    return threads->begin(decode, (count + together - 1) / together);
}

// Waits so long for a job of begin_crops. Returns how many crops are left out, or -1 if it is not done.
int64_t finish_crops(Threads *threads, Threads::Job *job, int64_t milliseconds, int64_t count, const uint8_t *done) {
    if (!threads->finish(job, std::chrono::milliseconds(milliseconds))) return -1;
    return std::count(done, done + count, 0);
}

int64_t checksum(const uint8_t *data, int64_t bytes, int64_t before) { return crc32(uint32_t(before), data, bytes); }

}  // namespace

extern "C" const Export *alexnet_exports() {
    static const Export all[] = {exported<resize_box>("resize"),
                                 exported<add_moments>("add_moments"),
                                 exported<decode_crops>("decode_crops"),
                                 exported<instruction_set>("instruction_set"),
                                 exported<start_threads>("start_threads"),
                                 exported<end_threads>("end_threads"),
                                 exported<begin_crops>("begin_crops"),
                                 exported<finish_crops>("finish_crops"),
                                 exported<checksum>("crc32"),
                                 {}};
    return all;
}
