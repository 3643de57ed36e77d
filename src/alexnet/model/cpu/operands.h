// Operands of the matrix multiplications: float32 or bf16 pairs, in vectors as wide as the processor's registers.
//
// Every kernel adds up sums[i] += a * b[i] along a direction k, where one element `a` is broadcast, `b` is a vector of
// WIDTH elements and the sums are float32. An element of a float32 operand is one value. An element of a bf16 operand
// is a pair of neighbours along k, whose products vdpbf16ps adds together: a[k] * b[k] + a[k + 1] * b[k + 1].
#pragma once

#include <algorithm>

#include "vector.h"

namespace {

#if defined(ALEXNET_AVX512) || defined(__aarch64__)
constexpr int REGISTERS = 32;
#else
constexpr int REGISTERS = 16;
#endif

// Without fused multiply-adds PyTorch's libraries are faster: they choose their instructions when the program runs.
#if defined(ALEXNET_AVX512) || (defined(__AVX2__) && defined(__FMA__)) || defined(__aarch64__)
#define ALEXNET_FMA
#endif

// Not on processors that multiply whole tiles (AMX): there oneDNN is several times as fast.
#if defined(ALEXNET_AVX512) && defined(__AVX512BF16__) && !defined(__AMX_BF16__)
#define ALEXNET_PAIRS
#endif

// Past the caches, for results that nobody reads soon; `to` is aligned to the vector.
inline void stream_vector(float *to, Floats value) {
#if defined(ALEXNET_AVX512)
    _mm512_stream_ps(to, (__m512)value);
#elif defined(__AVX2__)
    _mm256_stream_ps(to, (__m256)value);
#else
    store(to, value);
#endif
}

// Called by each thread after its last `stream_vector`.
inline void finish_streaming() {
#ifdef __AVX2__
    _mm_sfence();
#endif
}

// Swaps rows[i][j] and rows[j][i].
inline void transpose(Floats rows[WIDTH]) {
#ifdef ALEXNET_AVX512
    transpose((__m512i *)rows);
#else
    for (int i = 0; i < WIDTH; i++)
        for (int j = 0; j < i; j++) {
            const float value = rows[i][j];
            rows[i][j] = rows[j][i];
            rows[j][i] = value;
        }
#endif
}

// Packs values of type T into elements.
template <class T> struct Packed;

template <> struct Packed<float> {
    using Element = float;
    using Elements = Floats;
    static constexpr int64_t DEPTH = 1;  // values of k in an element
    static constexpr Element ONE = 1;    // multiplying with it adds up

    static Elements load(const float *at_k, const float *, Part lanes = Part(WIDTH)) { return ::load(at_k, lanes); }

    // to[i] = at_k[i] for i < count, 0 for the others before `size`.
    static void pack(const float *at_k, const float *, int64_t count, float *to, int64_t size) {
        const int64_t there = std::clamp<int64_t>(count, 0, size);
        if (there == size) {
            std::memcpy(to, at_k, size * sizeof(float));  // in registers, where the size is a constant
        } else {
            std::copy_n(at_k, there, to);
            std::fill(to + there, to + size, 0.0f);
        }
    }
};

inline Floats load_elements(const float *from) { return load(from); }

inline void store_elements(float *to, Floats value) { store(to, value); }

inline Floats multiply_add(Floats sums, float a, Floats b) { return sums + a * b; }

#ifdef ALEXNET_PAIRS
typedef uint32_t Pairs __attribute__((vector_size(4 * WIDTH)));

inline __m512i rounded_low_halves(const float *from, Part lanes) {
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(load(from, lanes)));
}

inline __m512i rounded_low_halves(const bfloat16 *from, Part lanes) {
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, from));
}

template <> struct Packed<bfloat16> {
    using Element = uint32_t;
    using Elements = Pairs;
    static constexpr int64_t DEPTH = 2;
    static constexpr Element ONE = 0x3f803f80;

    // The pairs (at_k[i], at_next[i]), or (at_k[i], 0) where there is no next k; float32 values are rounded.
    template <class S> static Elements load(const S *at_k, const S *at_next, Part lanes = Part(WIDTH)) {
        const __m512i low = rounded_low_halves(at_k, lanes);
        if (!at_next) return (Pairs)low;
        return (Pairs)_mm512_or_si512(low, _mm512_slli_epi32(rounded_low_halves(at_next, lanes), 16));
    }

    template <class S> static void pack(const S *at_k, const S *at_next, int64_t count, uint32_t *to, int64_t size) {
        for (int64_t i = 0; i < size; i += WIDTH) {
            const Part there(std::clamp<int64_t>(count - i, 0, WIDTH)), room(size - i);
            _mm512_mask_storeu_epi32(to + i, room, (__m512i)load(at_k + i, at_next ? at_next + i : nullptr, there));
        }
    }
};

inline Pairs load_elements(const uint32_t *from) {
    Pairs value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

inline void store_elements(uint32_t *to, Pairs value) { std::memcpy(to, &value, sizeof value); }

inline Floats multiply_add(Floats sums, uint32_t a, Pairs b) {
    return (Floats)_mm512_dpbf16_ps((__m512)sums, (__m512bh)_mm512_set1_epi32(a), (__m512bh)b);
}
#endif

}  // namespace
