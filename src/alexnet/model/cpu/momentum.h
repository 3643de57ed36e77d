// The paper's update (section 5): v <- momentum v - decay w - rate g, w <- w + v.
#pragma once

#include <algorithm>

#include "vector.h"

namespace {

struct Momentum {
    float rate, momentum, decay;  // decay: the weight decay times the rate

    template <class G> void update(float *w, float *v, const G *g, int64_t count) const {
        for (int64_t i = 0; i < count; i += WIDTH) {
            const Part lanes(count - i);
            const Floats weight = load(w + i, lanes);
            const Floats velocity = momentum * load(v + i, lanes) - decay * weight - rate * load(g + i, lanes);
            store(v + i, lanes, velocity);
            store(w + i, lanes, weight + velocity);
        }
    }
};

constexpr int64_t CHUNK = 2048;  // weights that a thread updates together

// w, v and g [count].
template <class G>
void momentum_update(float *w, float *v, const G *g, int64_t count, float rate, float momentum, float decay,
                     int threads) {
    const Momentum m{rate, momentum, decay};
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t at = 0; at < count; at += CHUNK) m.update(w + at, v + at, g + at, std::min(CHUNK, count - at));
}

}  // namespace
