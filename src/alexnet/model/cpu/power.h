// s ** -0.75 for s > 0, the power of both normalisations; relative error below 3e-7.
#pragma once

#include "vector.h"

namespace {

// Of an approximation t: one = s ** 3 t ** 4, about 1, in an order that overflows for no s.
inline Floats almost_one(Floats s, Floats t) {
    const Floats half = s * (t * t);
    return (half * half) * s;
}

// One of Newton's steps: the relative error e becomes 2.5 e ** 2.
inline Floats newton_step(Floats s, Floats t) { return t * (1.25f - 0.25f * almost_one(s, t)); }

inline Floats power(Floats s) {
#ifdef ALEXNET_AVX512
    const Floats root = _mm512_rsqrt14_ps(s);  // s ** -0.5 within 2 ** -14
    return newton_step(s, (root * root) * (Floats)_mm512_rsqrt14_ps(root));
#else
    // A float's bits are nearly its logarithm: times -0.75 they are those of the power within 4.4 %.
    constexpr uint32_t OFFSET = 0x6f14ec00;  // 1.75 times the bits of 1, less what balances the error
    const Integers bits = as_integers(s);
    const Unsigned lower = (Unsigned)(bits - (bits >> 2));  // for s < 0, which has no power, the difference wraps round
    const Floats t = (Floats)(OFFSET - lower);
    // s ** -0.75 = t (1 - r) ** -0.25 with r = 1 - one, as a series: within 1e-4.
    const Floats r = 1.0f - almost_one(s, t);
    return newton_step(s, t + t * r * (1.0f / 4 + r * (5.0f / 32 + r * (15.0f / 128))));
#endif
}

// s ** -0.5, given t = s ** -0.75.
inline Floats inverse_root(Floats s, Floats t) { return s * (t * t); }

}  // namespace
