// The update rule of the paper (section 5).
#pragma once

#include "vector.h"

namespace {

struct Momentum {
    float rate, momentum, decay;  // decay is the weight decay times the rate

    // v <- momentum v - decay w - rate g; w <- w + v.
    template <class G> void update(float *w, float *v, const G *g, int64_t count) const {
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            v[i] = momentum * v[i] - decay * w[i] - rate * widen(g[i]);
            w[i] += v[i];
        }
    }
};

}  // namespace
