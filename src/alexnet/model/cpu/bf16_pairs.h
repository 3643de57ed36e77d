// Places of a factor: a float32, or a pair of bfloat16 that are neighbours along the summed direction. One place of one
// factor is broadcast and multiplied with sixteen of the other.
#pragma once

#include <algorithm>

#include "vector.h"

namespace {

// Not where the processor has products of whole tiles: there oneDNN's are several times as fast.
#if defined(ALEXNET_AVX512) && defined(__AVX512BF16__) && !defined(__AMX_BF16__)
#define ALEXNET_PAIRS
constexpr bool HAS_PAIRS = true;
#else
constexpr bool HAS_PAIRS = false;
#endif

#ifdef ALEXNET_AVX512
constexpr bool HAS_VECTORS = true;

template <class T> struct Places;

template <> struct Places<float> {
    using Place = float;
    static constexpr int64_t PER = 1;  // values in a place
    static constexpr Place ONES = 1;

    // Sixteen places along a row of weights, of which `there` values are left.
    static __m512i along(const float *from, int64_t there) {
        return _mm512_castps_si512(load(from, Part(std::max<int64_t>(0, there))));
    }
    // Sixteen places across rows `apart` values apart, of which `rows` are left.
    static __m512i across(const float *from, int64_t, int64_t, Part lanes) { return _mm512_castps_si512(load(from, lanes)); }
    // Sixteen places of as many images as a place has values.
    static __m512i overlaid(const float *one, const float *, __mmask16 lanes = 0xffff) {
        return _mm512_castps_si512(_mm512_maskz_loadu_ps(lanes, one));
    }
};

inline __m512i places(const float *from) { return _mm512_castps_si512(_mm512_loadu_ps(from)); }

inline __m512 add_product(__m512 sum, float value, __m512i places) {
    return _mm512_fmadd_ps(_mm512_set1_ps(value), _mm512_castsi512_ps(places), sum);
}
#else
constexpr bool HAS_VECTORS = false;
#endif

#ifdef ALEXNET_PAIRS
inline __m512i narrowed(const float *from, __mmask16 lanes) {
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(lanes, from)));
}

inline __m512i narrowed(const bfloat16 *from, __mmask16 lanes) {
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, from));
}

template <> struct Places<bfloat16> {
    using Place = uint32_t;
    static constexpr int64_t PER = 2;
    static constexpr Place ONES = 0x3f803f80;

    static __m512i along(const float *from, int64_t there) {
        const __m512 low = load(from, Part(std::max<int64_t>(0, there)));
        const __m512 high = load(from + LANES, Part(std::max<int64_t>(0, there - LANES)));
        return (__m512i)_mm512_cvtne2ps_pbh(high, low);
    }
    template <class T> static __m512i across(const T *from, int64_t apart, int64_t rows, Part lanes) {
        const __m512i second = rows > 1 ? narrowed(from + apart, lanes) : _mm512_setzero_si512();
        return _mm512_or_si512(narrowed(from, lanes), _mm512_slli_epi32(second, 16));
    }
    // Without a second image the other half is 0.
    static __m512i overlaid(const bfloat16 *one, const bfloat16 *other, __mmask16 lanes = 0xffff) {
        const __m512i low = narrowed(one, lanes);
        return other ? _mm512_or_si512(low, _mm512_slli_epi32(narrowed(other, lanes), 16)) : low;
    }
};

inline __m512i places(const uint32_t *from) { return _mm512_loadu_si512(from); }

inline __m512 add_product(__m512 sum, uint32_t pair, __m512i places) {
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)places);
}
#endif

}  // namespace
