// Numbers: bfloat16 beside float32, one at a time and, with AVX-512, sixteen at a time.
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
constexpr int64_t LANES = 16;

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

}  // namespace
