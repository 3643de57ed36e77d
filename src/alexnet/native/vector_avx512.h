// The part of vector.h for AVX-512. Masks have a bit per lane, and a part of a vector is loaded or stored in one
// instruction.
#pragma once

namespace {

inline Floats widen(__m256i bits) { return (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16); }

inline __m256i narrow(Floats value) {
#ifdef __AVX512BF16__
    return (__m256i)_mm512_cvtneps_pbh(value);
#else
    const __m512i bits = (__m512i)value, odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i nearest = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(_mm512_srli_epi32(nearest, 16), nan, _mm512_set1_epi32(0x7fc0)));
#endif
}

inline Floats load(const bfloat16 *from) { return widen(load_as<__m256i>(from)); }
inline void store(bfloat16 *to, Floats value) { store_as(to, narrow(value)); }

// Numbers below 256, one in a byte.
inline Integers load_bytes(const uint8_t *from, Mask lanes) {
    return (Integers)_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes, from));
}
inline void store_bytes(uint8_t *to, Mask lanes, Integers value) {
    _mm_mask_storeu_epi8(to, lanes, _mm512_cvtepi32_epi8((__m512i)value));
}

inline Floats load(const float *from, Whole) { return load(from); }
inline Floats load(const float *from, Mask lanes) { return _mm512_maskz_loadu_ps(lanes, from); }
inline Floats load(const bfloat16 *from, Whole) { return load(from); }
inline Floats load(const bfloat16 *from, Mask lanes) { return widen(_mm256_maskz_loadu_epi16(lanes, from)); }
inline void store(float *to, Whole, Floats value) { store(to, value); }
inline void store(float *to, Mask lanes, Floats value) { _mm512_mask_storeu_ps(to, lanes, value); }
inline void store(bfloat16 *to, Whole, Floats value) { store(to, value); }
inline void store(bfloat16 *to, Mask lanes, Floats value) { _mm256_mask_storeu_epi16(to, lanes, narrow(value)); }

inline Mask greater(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
inline Mask is_nan(Floats a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
inline Mask equal_bytes(const uint8_t *from, Mask lanes, uint8_t value) {
    return _mm_mask_cmpeq_epi8_mask(lanes, _mm_maskz_loadu_epi8(lanes, from), _mm_set1_epi8(char(value)));
}
inline Mask either(Mask a, Mask b) { return a | b; }
inline Floats select(Mask where, Floats a, Floats b) { return _mm512_mask_mov_ps(b, where, a); }
inline bool any(Mask where) { return where != 0; }
inline Floats add_where(Mask where, Floats sum, Floats value) { return _mm512_mask_add_ps(sum, where, sum, value); }
inline ShortMask greater(Shorts a, Shorts b) { return _mm512_cmpgt_epi16_mask((__m512i)a, (__m512i)b); }
inline Floats larger(Floats a, Floats b) { return (Floats)_mm512_max_ps((__m512)a, (__m512)b); }
inline Shorts larger(Shorts a, Shorts b) { return (Shorts)_mm512_max_epi16((__m512i)a, (__m512i)b); }
inline bool any(ShortMask where) { return where != 0; }
inline Integers raised(Mask where, int32_t to, Integers value) {
    return (Integers)_mm512_mask_mov_epi32((__m512i)value, where, _mm512_set1_epi32(to));
}
inline Shorts raised(ShortMask where, int16_t to, Shorts value) {
    return (Shorts)_mm512_mask_mov_epi16((__m512i)value, where, _mm512_set1_epi16(to));
}
inline Floats rectified(Floats value) { return _mm512_max_ps(_mm512_setzero_ps(), value); }

// The lower bytes of numbers below 256.
inline void store_bytes(uint8_t *to, Shorts value) { store_as(to, _mm512_cvtepi16_epi8((__m512i)value)); }

// Swaps rows and columns.
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

}  // namespace
