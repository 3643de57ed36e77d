// The mean image taken off crops of bytes (paper, section 2), and the colour shift of each (section 4.1) added:
//
//     x[i] = crops[i] - (mean at the crop's offset, mirrored where it is - shifts[i])
//
// crops[batch][crop][crop][3], mean and mirrored_mean [size][size][3], offsets[batch] as top and left, mirrored[batch],
// shifts[batch][3]; x as the crops.
#pragma once

#include <vector>

#include "local.h"
#include "vector.h"

namespace {

template <class T>
void remove_mean(const uint8_t *crops, const float *mean, const float *mirrored_mean, const int64_t *offsets,
                 const uint8_t *mirrored, const float *shifts, T *x, int64_t batch, int64_t crop, int64_t size,
                 int threads) {
    const int64_t values = 3 * crop;  // of a row
    Shortage shortage;
#pragma omp parallel num_threads(threads)
    {
        Local<std::vector<float>> own(shortage, values);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < batch; i++) {
            if (!own) continue;
            std::vector<float> &shift = *own;
            for (int64_t j = 0; j < values; j++) shift[j] = shifts[3 * i + j % 3];
            const int64_t top = offsets[2 * i], offset = offsets[2 * i + 1];
            const int64_t left = mirrored[i] ? size - crop - offset : offset;
            for (int64_t row = 0; row < crop; row++) {
                const float *from = (mirrored[i] ? mirrored_mean : mean) + 3 * ((top + row) * size + left);
                const int64_t at = (i * crop + row) * values;
                for (int64_t j = 0; j < values; j += WIDTH) {
                    const Part lanes(values - j);
                    const Floats pixels = __builtin_convertvector(load_bytes(crops + at + j, lanes), Floats);
                    store(x + at + j, lanes, pixels - (load(from + j, lanes) - load(&shift[j], lanes)));
                }
            }
        }
    }
    shortage.check();
}

}  // namespace
