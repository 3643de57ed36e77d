// The kernels that Python calls, listed once. Local response normalisation, max pooling, both in one pass with the ReLU
// before them, normalisation within each map, mean subtraction, space-to-depth, windows of locally connected layers,
// the momentum update; and the convolutions and matrix multiplications that oneDNN is slow at: conv1, weight gradients,
// fully connected layers.
//
// Activations are channels last ([images, height, width, channels] in memory), float32 or bfloat16. Arithmetic is
// float32; results are rounded to nearest even. Each kernel is written once for vectors of any width (vector.h). Those
// of matrix multiplications need fused multiply-adds, and in bfloat16 vdpbf16ps (operands.h). Built by kernels.py at
// first use and called through ctypes, hence no torch headers.

#include <cstdint>

#include "conv1.h"
#include "conv_gradient.h"
#include "exports.h"
#include "linear.h"
#include "lrn.h"
#include "mean.h"
#include "momentum.h"
#include "pool.h"
#include "space_to_depth.h"
#include "spatial_norm.h"
#include "stage.h"
#include "windows.h"

namespace {

// Calls work(what, i) for every i < count; each thread takes the next i when it is free.
void each(void (*work)(void *, int64_t), void *what, int64_t count, int threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t i = 0; i < count; i++) work(what, i);
}

}  // namespace

#define FLOAT32(NAME) exported<NAME<float>>(#NAME "_float32")
#define BFLOAT16(NAME) exported<NAME<bfloat16>>(#NAME "_bfloat16")
#define BOTH(NAME) FLOAT32(NAME), BFLOAT16(NAME)

extern "C" const Export *alexnet_exports() {
    static const Export all[] = {
#ifdef _OPENMP
        exported<each>("each"),
#endif
#ifdef ALEXNET_FMA
        FLOAT32(conv1),
        FLOAT32(conv1_gradient),
        FLOAT32(conv_gradient),
        FLOAT32(linear_gradient_input),
        FLOAT32(linear_gradient_weight),
        FLOAT32(linear_update),
#endif
#ifdef ALEXNET_PAIRS
        BFLOAT16(conv1),
        exported<linear>("linear_bfloat16"),
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
        BOTH(windows),
        BOTH(windows_gradient),
        BOTH(remove_mean),
        BOTH(momentum_update),
        exported<space_to_depth<float, float>>("space_to_depth_float32"),
        exported<space_to_depth<bfloat16, bfloat16>>("space_to_depth_bfloat16"),
        exported<space_to_depth<float, bfloat16>>("space_to_depth_from_float32_bfloat16"),
        exported<instruction_set>("instruction_set"),
        {}};
    return all;
}
