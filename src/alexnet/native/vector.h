// Numbers one at a time and in the vectors that g++ and clang++ share: floats, bfloat16, bytes and integers.
//
// Images go sixteen bytes or integers at a time on every processor; ALEXNET_AVX512 says that vectors of sixteen floats
// fit into a register, with masks.
#pragma once

#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#include <immintrin.h>
#define ALEXNET_AVX512
#endif

namespace {

constexpr int64_t LANES = 16;

struct bfloat16 {
    uint16_t bits;
};

inline float widen(float value) { return value; }

inline float widen(bfloat16 value) {
    const uint32_t bits = uint32_t(value.bits) << 16;
    float result;
    std::memcpy(&result, &bits, 4);
    return result;
}

inline void narrow(float value, float &to) { to = value; }

inline void narrow(float value, bfloat16 &to) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    to.bits = value != value ? 0x7fc0 : uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);  // ties to even
}

// max(x, 0); NaN stays.
inline float rectified(float value) { return value < 0 ? 0 : value; }

// Memory from the start of a line of the cache on: vectors of sixteen that lie over two lines are read twice.
template <class T> struct FromLine {
    using value_type = T;
    FromLine() = default;
    template <class S> FromLine(const FromLine<S> &) {}
    T *allocate(size_t count) { return (T *)::operator new(count * sizeof(T), std::align_val_t(64)); }
    void deallocate(T *memory, size_t) { ::operator delete(memory, std::align_val_t(64)); }
    friend bool operator==(FromLine, FromLine) { return true; }
    friend bool operator!=(FromLine, FromLine) { return false; }
};
template <class T> using Buffer = std::vector<T, FromLine<T>>;

#ifdef ALEXNET_AVX512
// Which of sixteen lanes there are: all of them (known when compiling, and faster), or some.
struct Whole {
    Whole(int64_t) {}
    operator __mmask16() const { return 0xffff; }
};

struct Part {
    __mmask16 lanes;
    Part(int64_t count) : lanes(count >= LANES ? 0xffff : (1u << count) - 1) {}
    operator __mmask16() const { return lanes; }
};

inline __m512 widen(__m256i bits) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

inline __m512 load(const float *from, Whole) { return _mm512_loadu_ps(from); }
inline __m512 load(const float *from, __mmask16 lanes) { return _mm512_maskz_loadu_ps(lanes, from); }
inline __m512 load(const bfloat16 *from, Whole) { return widen(_mm256_loadu_si256((const __m256i *)from)); }
inline __m512 load(const bfloat16 *from, __mmask16 lanes) { return widen(_mm256_maskz_loadu_epi16(lanes, from)); }

inline __m256i narrow(__m512 value) {
#ifdef __AVX512BF16__
    return (__m256i)_mm512_cvtneps_pbh(value);
#else
    const __m512i bits = _mm512_castps_si512(value);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i nearest = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(
        _mm512_mask_mov_epi32(_mm512_srli_epi32(nearest, 16), nan, _mm512_set1_epi32(0x7fc0)));
#endif
}

inline void store(float *to, Whole, __m512 value) { _mm512_storeu_ps(to, value); }
inline void store(float *to, Part lanes, __m512 value) { _mm512_mask_storeu_ps(to, lanes, value); }
inline void store(bfloat16 *to, Whole, __m512 value) { _mm256_storeu_si256((__m256i *)to, narrow(value)); }
inline void store(bfloat16 *to, Part lanes, __m512 value) { _mm256_mask_storeu_epi16(to, lanes, narrow(value)); }

// Rows and columns change places.
inline void transpose(__m512i rows[16]) {
    __m512i other[16];
    for (int i = 0; i < 16; i += 2) {
        other[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        other[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            rows[i + 2 * j] = _mm512_unpacklo_epi64(other[i + j], other[i + j + 2]);
            rows[i + 2 * j + 1] = _mm512_unpackhi_epi64(other[i + j], other[i + j + 2]);
        }
    for (int i = 0; i < 4; i++) {
        other[i] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0x88);
        other[i + 4] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0xdd);
        other[i + 8] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0x88);
        other[i + 12] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        rows[i] = _mm512_shuffle_i32x4(other[i], other[i + 8], 0x88);
        rows[i + 8] = _mm512_shuffle_i32x4(other[i], other[i + 8], 0xdd);
        rows[i + 4] = _mm512_shuffle_i32x4(other[i + 4], other[i + 12], 0x88);
        rows[i + 12] = _mm512_shuffle_i32x4(other[i + 4], other[i + 12], 0xdd);
    }
}

inline __m512 rectified(__m512 value) { return _mm512_max_ps(_mm512_setzero_ps(), value); }
#endif

// ---- Bytes and integers of images ----

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
