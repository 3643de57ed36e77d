// Sixteen lanes on every processor: Bytes, sixteen 8-bit samples, and Ints, sixteen 32-bit integers, such as sums over
// samples or one coefficient of sixteen blocks. Made of the vector types that g++ and clang++ share.
//
// Ints is as many of the processor's registers as it takes: g++ works on a vector wider than those lane by lane, in
// memory. Intrinsics stand where the compilers translate a conversion badly.
#pragma once

#include <cstdint>
#include <cstring>

#include "vector.h"
#ifdef __SSE2__
#include <immintrin.h>
#endif

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "interleaving with zeros widens");

namespace {

constexpr int64_t LANES = 16;  // bytes or whole numbers of images at a time, on every processor

// ---- Bytes ----

typedef uint8_t Bytes __attribute__((vector_size(16)));
typedef uint16_t Shorts8 __attribute__((vector_size(16)));

template <class V, class T> inline V load_vector(const T *from) {
    V value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

inline Bytes load(const uint8_t *from) { return load_vector<Bytes>(from); }
inline void store(uint8_t *to, Bytes value) { std::memcpy(to, &value, sizeof value); }

// The lanes of a and b, counted on from a's to b's, that are listed.
#ifdef __clang__
#define PERMUTE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PERMUTE(a, b, ...) __builtin_shuffle(a, b, decltype(a + b){__VA_ARGS__})
#endif

// The lanes of a and b in turn, from their lower and from their upper halves.
inline Bytes interleave_low(Bytes a, Bytes b) {
    return PERMUTE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
inline Bytes interleave_high(Bytes a, Bytes b) {
    return PERMUTE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
inline Shorts8 interleave_low(Shorts8 a, Shorts8 b) { return PERMUTE(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
inline Shorts8 interleave_high(Shorts8 a, Shorts8 b) { return PERMUTE(a, b, 4, 12, 5, 13, 6, 14, 7, 15); }

inline Bytes reversed(Bytes a) { return PERMUTE(a, a, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0); }

// Red, green and blue of sixteen pixels to 48 bytes of interleaved RGB.
inline void store_interleaved(uint8_t *to, Bytes r, Bytes g, Bytes b) {
    const Bytes low = interleave_low(r, g), high = interleave_high(r, g);
    const Bytes middle = PERMUTE(low, high, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25);
    store(to, PERMUTE(low, b, 0, 1, 16, 2, 3, 17, 4, 5, 18, 6, 7, 19, 8, 9, 20, 10));
    store(to + 16, PERMUTE(middle, b, 1, 21, 2, 3, 22, 4, 5, 23, 6, 7, 24, 8, 9, 25, 10, 11));
    store(to + 32, PERMUTE(high, b, 26, 6, 7, 27, 8, 9, 28, 10, 11, 29, 12, 13, 30, 14, 15, 31));
}

// Transposes 16x16 bytes: interleaves the upper and the lower eight rows four times.
inline void transpose(Bytes rows[16]) {
    Bytes other[16];
    for (int turn = 0; turn < 4; turn++) {
        Bytes *from = turn % 2 ? other : rows, *to = turn % 2 ? rows : other;
        for (int i = 0; i < 8; i++) {
            to[2 * i] = interleave_low(from[i], from[i + 8]);
            to[2 * i + 1] = interleave_high(from[i], from[i + 8]);
        }
    }
}

// ---- Integers ----
//
// widen: sixteen numbers in memory to 32 bits. saturate: to 8 bits, 0 for numbers below 0 and 255 for those above 255.

#ifdef ALEXNET_AVX512
typedef int32_t Ints __attribute__((vector_size(64)));

inline Ints widen(const uint8_t *from) { return (Ints)_mm512_cvtepu8_epi32(load_vector<__m128i>(from)); }
inline Ints widen(const int16_t *from) { return (Ints)_mm512_cvtepi16_epi32(load_vector<__m256i>(from)); }

inline Bytes saturate(Ints value) {
    return (Bytes)_mm512_cvtusepi32_epi8(_mm512_max_epi32((__m512i)value, _mm512_setzero_si512()));
}
#else
#ifdef __AVX2__
typedef int32_t Register __attribute__((vector_size(32)));
#else
typedef int32_t Register __attribute__((vector_size(16)));
#endif
constexpr int64_t REGISTER_LANES = sizeof(Register) / 4, REGISTERS = LANES / REGISTER_LANES;

struct Ints {
    Register part[REGISTERS];

    int32_t operator[](int64_t lane) const { return part[lane / REGISTER_LANES][lane % REGISTER_LANES]; }
};

#define LANEWISE(OPERATION)                                                                                            \
    inline Ints operator OPERATION(Ints a, const Ints &b) {                                                            \
        for (int64_t i = 0; i < REGISTERS; i++) a.part[i] = a.part[i] OPERATION b.part[i];                             \
        return a;                                                                                                      \
    }                                                                                                                  \
    inline Ints operator OPERATION(Ints a, int32_t b) {                                                                \
        for (int64_t i = 0; i < REGISTERS; i++) a.part[i] = a.part[i] OPERATION b;                                     \
        return a;                                                                                                      \
    }
LANEWISE(+)
LANEWISE(-)
LANEWISE(*)
LANEWISE(|)
LANEWISE(^)
LANEWISE(<<)
LANEWISE(>>)
#undef LANEWISE
inline Ints &operator+=(Ints &a, const Ints &b) { return a = a + b; }
inline Ints &operator|=(Ints &a, const Ints &b) { return a = a | b; }

#ifdef __AVX2__
inline Ints widen(const uint8_t *from) {
    return {(Register)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)from)),
            (Register)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(from + 8)))};
}

inline Ints widen(const int16_t *from) {
    return {(Register)_mm256_cvtepi16_epi32(load_vector<__m128i>(from)),
            (Register)_mm256_cvtepi16_epi32(load_vector<__m128i>(from + 8))};
}

inline Bytes saturate(const Ints &value) {
    const __m256i mixed = _mm256_packs_epi32((__m256i)value.part[0], (__m256i)value.part[1]);  // four of each in turn
    const __m256i shorts = _mm256_permute4x64_epi64(mixed, 0b11011000);
    return (Bytes)_mm_packus_epi16(_mm256_castsi256_si128(shorts), _mm256_extracti128_si256(shorts, 1));
}
#else
inline Ints widen(const uint8_t *from) {
    const Bytes bytes = load(from);
    const Shorts8 low = (Shorts8)interleave_low(bytes, Bytes{}), high = (Shorts8)interleave_high(bytes, Bytes{}),
                  zero{};
    return {(Register)interleave_low(low, zero), (Register)interleave_high(low, zero),
            (Register)interleave_low(high, zero), (Register)interleave_high(high, zero)};
}

inline Ints widen(const int16_t *from) {
    const Shorts8 low = load_vector<Shorts8>(from), high = load_vector<Shorts8>(from + 8), zero{};
    return {(Register)interleave_low(zero, low) >> 16, (Register)interleave_high(zero, low) >> 16,
            (Register)interleave_low(zero, high) >> 16, (Register)interleave_high(zero, high) >> 16};
}

inline Bytes saturate(const Ints &value) {
    const Register *part = value.part;
#ifdef __SSE2__
    const __m128i low = _mm_packs_epi32((__m128i)part[0], (__m128i)part[1]);
    const __m128i high = _mm_packs_epi32((__m128i)part[2], (__m128i)part[3]);
    return (Bytes)_mm_packus_epi16(low, high);
#else
    Bytes bytes[REGISTERS];  // of each integer the lowest, which is all of it
    for (int64_t i = 0; i < REGISTERS; i++) {
        const Register positive = part[i] < 0 ? Register{} : part[i];
        bytes[i] = (Bytes)(positive > 255 ? Register{} + 255 : positive);
    }
    const Bytes low = PERMUTE(bytes[0], bytes[1], 0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0);
    const Bytes high = PERMUTE(bytes[2], bytes[3], 0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0);
    return PERMUTE(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
#endif
}
#endif
#endif

}  // namespace
