// Local response normalisation of one pixel: y_i = x_i s_i ** -0.75, s_i = k + alpha * sum of x_j ** 2 over the window
// of i within its tower. With `relu` the input is max(x, 0), and the gradient is that of x.
#pragma once

#include <algorithm>
#include <cmath>

#include "vector.h"

namespace {

struct Norm {
    int64_t channels, groups, half;  // half: neighbours on each side
    bool relu;
    float alpha, k;
};

// ---- Plain loops: any window, any processor ----

constexpr int64_t BLOCK = 64;     // channels handled at a time
constexpr int64_t MAX_HALF = 16;  // the widest window is 33

template <bool RELU, class T> inline float value_at(const T *x, int64_t c, int64_t width) {
    const float value = c >= 0 && c < width ? widen(x[c]) : 0.0f;
    return RELU ? rectified(value) : value;
}

template <bool RELU, class T> void lrn_tower_loop(const T *x, T *y, int64_t width, const Norm &n) {
    float squares[BLOCK + 2 * MAX_HALF];
    for (int64_t start = 0; start < width; start += BLOCK) {
        const int64_t count = std::min(BLOCK, width - start);
        for (int64_t i = 0; i < count + 2 * n.half; i++) {
            const float value = value_at<RELU>(x, start + i - n.half, width);
            squares[i] = value * value;
        }
        for (int64_t i = 0; i < count; i++) {
            float total = 0;
            for (int64_t j = 0; j <= 2 * n.half; j++) total += squares[i + j];
            const float root = 1 / std::sqrt(n.k + n.alpha * total);
            narrow(value_at<RELU>(x, start + i, width) * (root * std::sqrt(root)), y[start + i]);
        }
    }
}

// dx_j = g_j s_j ** -b - 2 a b x_j sum of g_i x_i s_i ** (-b - 1) over the channels i whose window holds j.
template <bool RELU, class T, class G>
void lrn_tower_gradient_loop(const T *x, const G *g, T *dx, int64_t width, const Norm &n) {
    float squares[BLOCK + 4 * MAX_HALF], shares[BLOCK + 2 * MAX_HALF], direct[BLOCK + 2 * MAX_HALF];
    for (int64_t start = 0; start < width; start += BLOCK) {
        const int64_t count = std::min(BLOCK, width - start);
        for (int64_t i = 0; i < count + 4 * n.half; i++) {
            const float value = value_at<RELU>(x, start + i - 2 * n.half, width);
            squares[i] = value * value;
        }
        for (int64_t i = 0; i < count + 2 * n.half; i++) {
            const int64_t c = start + i - n.half;
            float total = 0;
            for (int64_t j = 0; j <= 2 * n.half; j++) total += squares[i + j];
            const float root = 1 / std::sqrt(n.k + n.alpha * total);
            direct[i] = c >= 0 && c < width ? widen(g[c]) * (root * std::sqrt(root)) : 0.0f;
            shares[i] = direct[i] * value_at<RELU>(x, c, width) * (root * root);
        }
        for (int64_t i = 0; i < count; i++) {
            float total = 0;
            for (int64_t j = 0; j <= 2 * n.half; j++) total += shares[i + j];
            const float value = widen(x[start + i]);
            const float slope = direct[i + n.half] - 1.5f * n.alpha * value * total;
            narrow(RELU && !(value > 0) ? 0 : slope, dx[start + i]);
        }
    }
}

// ---- AVX-512: sixteen channels at a time, windows of five ----

#ifdef ALEXNET_AVX512
// s ** -0.75 for s > 0: a 13-bit estimate and one Newton step, error below 2e-7.
inline __m512 power(__m512 s) {
    const __m512 root = _mm512_rsqrt14_ps(s);
    const __m512 guess = _mm512_mul_ps(_mm512_mul_ps(root, root), _mm512_rsqrt14_ps(root));
    const __m512 half = _mm512_mul_ps(s, _mm512_mul_ps(guess, guess));  // about s ** -0.5
    const __m512 one = _mm512_mul_ps(_mm512_mul_ps(half, half), s);     // about 1
    return _mm512_mul_ps(guess, _mm512_fnmadd_ps(_mm512_set1_ps(0.25f), one, _mm512_set1_ps(1.25f)));
}

// Sixteen of the sequence low, high from place COUNT on.
template <int COUNT> inline __m512 shifted(__m512 low, __m512 high) {
    return _mm512_castsi512_ps(_mm512_alignr_epi32(_mm512_castps_si512(high), _mm512_castps_si512(low), COUNT));
}

// Sums over five neighbours of a sequence given sixteen at a time: next(v) returns the sums of the chunk before v.
struct Window {
    __m512 current = _mm512_setzero_ps(), pairs = _mm512_setzero_ps();

    __m512 next(__m512 value) {
        const __m512 before = pairs;
        pairs = _mm512_add_ps(current, shifted<1>(current, value));
        const __m512 total =
            _mm512_add_ps(_mm512_add_ps(shifted<14>(before, pairs), pairs), shifted<2>(current, value));
        current = value;
        return total;
    }
};

template <bool RELU, class T, class Lanes> inline __m512 input(const T *x, Lanes lanes) {
    return RELU ? rectified(load(x, lanes)) : load(x, lanes);
}

template <bool RELU, class Lanes, class T> void lrn_tower(const T *x, T *y, int64_t width, const Norm &n) {
    const __m512 alpha = _mm512_set1_ps(n.alpha), k = _mm512_set1_ps(n.k);
    Window window;
    __m512 value = input<RELU>(x, Lanes(width));
    window.next(_mm512_mul_ps(value, value));
    for (int64_t c = 0; c < width; c += LANES) {
        const int64_t rest = width - c - LANES;
        const __m512 after = rest > 0 ? input<RELU>(x + c + LANES, Lanes(rest)) : _mm512_setzero_ps();
        const __m512 s = _mm512_fmadd_ps(alpha, window.next(_mm512_mul_ps(after, after)), k);
        store(y + c, Lanes(width - c), _mm512_mul_ps(value, power(s)));
        value = after;
    }
}

template <bool RELU, class Lanes, class T, class G>
void lrn_tower_gradient(const T *x, const G *g, T *dx, int64_t width, const Norm &n) {
    const __m512 alpha = _mm512_set1_ps(n.alpha), k = _mm512_set1_ps(n.k), factor = _mm512_set1_ps(-1.5f * n.alpha);
    const __m512 zero = _mm512_setzero_ps();
    Window window, shares;
    __m512 value = input<RELU>(x, Lanes(width)), value_before = zero, direct_before = zero;
    window.next(_mm512_mul_ps(value, value));
    const auto finish = [&](int64_t c, Lanes lanes, __m512 share) {
        const __m512 total = shares.next(share);
        const __m512 slope = _mm512_fmadd_ps(_mm512_mul_ps(factor, value_before), total, direct_before);
        const __mmask16 active = RELU ? _mm512_cmp_ps_mask(value_before, zero, _CMP_GT_OQ) : 0xffff;
        if (c >= 0) store(dx + c, lanes, RELU ? _mm512_maskz_mov_ps(active, slope) : slope);
    };
    for (int64_t c = 0; c < width; c += LANES) {
        const int64_t rest = width - c - LANES;
        const __m512 after = rest > 0 ? input<RELU>(x + c + LANES, Lanes(rest)) : zero;
        const __m512 s = _mm512_fmadd_ps(alpha, window.next(_mm512_mul_ps(after, after)), k);
        const __m512 t = power(s);
        const __m512 direct = _mm512_mul_ps(load(g + c, Lanes(width - c)), t);
        const __m512 half = _mm512_mul_ps(s, _mm512_mul_ps(t, t));  // s ** -0.5
        finish(c - LANES, Lanes(LANES), _mm512_mul_ps(_mm512_mul_ps(direct, value), _mm512_mul_ps(half, half)));
        value_before = value;
        direct_before = direct;
        value = after;
    }
    const int64_t last = (width - 1) / LANES * LANES;
    finish(last, Lanes(width - last), zero);
}
#endif

template <bool RELU, class T> void lrn_towers(const T *x, T *y, const Norm &n) {
    const int64_t width = n.channels / n.groups;
    for (int64_t at = 0; at < n.channels; at += width) {
#ifdef ALEXNET_AVX512
        if (n.half == 2 && width % LANES == 0) {
            lrn_tower<RELU, Whole>(x + at, y + at, width, n);
            continue;
        }
        if (n.half == 2) {
            lrn_tower<RELU, Part>(x + at, y + at, width, n);
            continue;
        }
#endif
        lrn_tower_loop<RELU>(x + at, y + at, width, n);
    }
}

template <bool RELU, class T, class G>
void lrn_towers_gradient(const T *x, const G *g, T *dx, const Norm &n) {
    const int64_t width = n.channels / n.groups;
    for (int64_t at = 0; at < n.channels; at += width) {
#ifdef ALEXNET_AVX512
        if (n.half == 2 && width % LANES == 0) {
            lrn_tower_gradient<RELU, Whole>(x + at, g + at, dx + at, width, n);
            continue;
        }
        if (n.half == 2) {
            lrn_tower_gradient<RELU, Part>(x + at, g + at, dx + at, width, n);
            continue;
        }
#endif
        lrn_tower_gradient_loop<RELU>(x + at, g + at, dx + at, width, n);
    }
}

template <class T> void lrn_pixel(const T *x, T *y, const Norm &n) {
    n.relu ? lrn_towers<true>(x, y, n) : lrn_towers<false>(x, y, n);
}

template <class T, class G> void lrn_pixel_gradient(const T *x, const G *g, T *dx, const Norm &n) {
    n.relu ? lrn_towers_gradient<true>(x, g, dx, n) : lrn_towers_gradient<false>(x, g, dx, n);
}

}  // namespace
