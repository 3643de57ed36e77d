// Sixteen bytes or whole numbers at a time, in the vectors that g++ and clang++ share.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#define ALEXNET_AVX512
#endif

namespace {

constexpr int64_t LANES = 16;
typedef uint8_t Bytes __attribute__((vector_size(16)));
typedef int32_t Ints __attribute__((vector_size(64)));

inline Bytes load(const uint8_t *from) {
    Bytes result;
    std::memcpy(&result, from, LANES);
    return result;
}

inline void store(uint8_t *to, Bytes value) { std::memcpy(to, &value, LANES); }

inline Ints widen(const uint8_t *from) {
#ifdef ALEXNET_AVX512
    return (Ints)_mm512_cvtepu8_epi32((__m128i)load(from));  // g++ makes a detour of __builtin_convertvector
#else
    return __builtin_convertvector(load(from), Ints);
#endif
}

inline Ints widen(const int16_t *from) {
    typedef int16_t Shorts __attribute__((vector_size(32)));
    Shorts value;
    std::memcpy(&value, from, sizeof value);
#ifdef ALEXNET_AVX512
    return (Ints)_mm512_cvtepi16_epi32((__m256i)value);
#else
    return __builtin_convertvector(value, Ints);
#endif
}

// To 0 where it is below, to 255 where it is above.
inline Bytes clipped(Ints value) {
#ifdef ALEXNET_AVX512
    const __m512i positive = _mm512_max_epi32((__m512i)value, _mm512_setzero_si512());
    return (Bytes)_mm512_cvtusepi32_epi8(positive);
#else
    value = value < 0 ? 0 * value : value;
    value = value > 255 ? 0 * value + 255 : value;
    return __builtin_convertvector(value, Bytes);
#endif
}

#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Bytes{__VA_ARGS__})
#endif

// The lower and the upper halves of two vectors, dealt out in turn.
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define REVERSED(a) SHUFFLE(a, a, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)

// Red, green and blue of sixteen pixels to 48 bytes.
inline void store_interleaved(uint8_t *to, Bytes r, Bytes g, Bytes b) {
    const Bytes low = ZIP_LOW(r, g), high = ZIP_HIGH(r, g);  // red and green in turn
    const Bytes middle = SHUFFLE(low, high, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25);
    store(to, SHUFFLE(low, b, 0, 1, 16, 2, 3, 17, 4, 5, 18, 6, 7, 19, 8, 9, 20, 10));
    store(to + 16, SHUFFLE(middle, b, 1, 21, 2, 3, 22, 4, 5, 23, 6, 7, 24, 8, 9, 25, 10, 11));
    store(to + 32, SHUFFLE(high, b, 26, 6, 7, 27, 8, 9, 28, 10, 11, 29, 12, 13, 30, 14, 15, 31));
}

// The 16x16 bytes in `block` change rows and columns: four times the rows' halves are dealt out in turn.
inline void transpose(Bytes block[16]) {
    Bytes other[16];
    for (int turn = 0; turn < 4; turn++) {
        Bytes *from = turn % 2 ? other : block, *to = turn % 2 ? block : other;
        for (int i = 0; i < 8; i++) {
            to[2 * i] = ZIP_LOW(from[i], from[i + 8]);
            to[2 * i + 1] = ZIP_HIGH(from[i], from[i + 8]);
        }
    }
}

}  // namespace
