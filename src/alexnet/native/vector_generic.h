// The part of vector.h for AVX2, SSE2, NEON and every other processor. Masks are vectors: all bits of a lane are set,
// or none.
#pragma once

namespace {

// The bits of bfloat16: the upper half of a float's, rounded; as int16_t in an int32_t.
inline Integers rounded_bits(Floats value) {
    const Integers bits = (Integers)value;
    return value == value ? (bits + 0x7fff + ((bits >> 16) & 1)) >> 16 : Integers{} + 0x7fc0;
}

#if defined(__AVX2__)
inline Floats load(const bfloat16 *from) {
    return (Floats)_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_as<__m128i>(from)), 16);
}

inline void store(bfloat16 *to, Floats value) {
    const __m256i bits = (__m256i)rounded_bits(value);
    store_as(to, _mm_packs_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1)));
}

inline Integers load_bytes(const uint8_t *from) {
    return (Integers)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)from));
}

inline void store_bytes(uint8_t *to, Integers value) {
    const __m256i wide = (__m256i)value;
    const __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    _mm_storel_epi64((__m128i *)to, _mm_packus_epi16(half, half));
}
#else
typedef uint16_t EightShorts __attribute__((vector_size(16)));
typedef uint8_t SixteenBytes __attribute__((vector_size(16)));

inline EightShorts zip_low(EightShorts a, EightShorts b) { return SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
inline SixteenBytes zip_low(SixteenBytes a, SixteenBytes b) {
    return SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

inline Floats load(const bfloat16 *from) {
    EightShorts bits{};
    std::memcpy(&bits, from, 8);
    return (Floats)zip_low(EightShorts{}, bits);
}

inline Integers load_bytes(const uint8_t *from) {
    SixteenBytes bytes{};
    std::memcpy(&bytes, from, 4);
    return (Integers)zip_low((EightShorts)zip_low(bytes, SixteenBytes{}), EightShorts{});
}

#ifdef __SSE2__
inline void store(bfloat16 *to, Floats value) {
    const __m128i bits = (__m128i)rounded_bits(value);
    _mm_storel_epi64((__m128i *)to, _mm_packs_epi32(bits, bits));
}

inline void store_bytes(uint8_t *to, Integers value) {
    const __m128i half = _mm_packs_epi32((__m128i)value, (__m128i)value), bytes = _mm_packus_epi16(half, half);
    std::memcpy(to, &bytes, 4);
}
#else
inline void store(bfloat16 *to, Floats value) {
    typedef int16_t FourShorts __attribute__((vector_size(8)));
    store_as(to, __builtin_convertvector(rounded_bits(value), FourShorts));
}

inline void store_bytes(uint8_t *to, Integers value) {
    SixteenBytes bytes = (SixteenBytes)value;
    for (int i = 0; i < 2; i++)  // every other byte
        bytes = SHUFFLE(bytes, bytes, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    std::memcpy(to, &bytes, 4);
}
#endif
#endif

template <class T> inline Floats load(const T *from, Whole) { return load(from); }
template <class T> inline Floats load(const T *from, Part part) {
    if (part.count >= WIDTH) return load(from);
    T values[WIDTH] = {};
    for (int64_t i = 0; i < part.count; i++) values[i] = from[i];
    return load(values);
}

template <class T> inline void store(T *to, Whole, Floats value) { store(to, value); }
template <class T> inline void store(T *to, Part part, Floats value) {
    if (part.count >= WIDTH) return store(to, value);
    T values[WIDTH];
    store(values, value);
    for (int64_t i = 0; i < part.count; i++) to[i] = values[i];
}

inline Integers load_bytes(const uint8_t *from, Whole) { return load_bytes(from); }
inline Integers load_bytes(const uint8_t *from, Part part) {
    if (part.count >= WIDTH) return load_bytes(from);
    uint8_t values[WIDTH] = {};
    for (int64_t i = 0; i < part.count; i++) values[i] = from[i];
    return load_bytes(values);
}

inline void store_bytes(uint8_t *to, Whole, Integers value) { store_bytes(to, value); }
inline void store_bytes(uint8_t *to, Part part, Integers value) {
    if (part.count >= WIDTH) return store_bytes(to, value);
    for (int64_t i = 0; i < part.count; i++) to[i] = uint8_t(value[i]);
}

inline Mask greater(Floats a, Floats b) { return a > b; }
template <class Lanes> inline Mask equal_bytes(const uint8_t *from, Lanes lanes, uint8_t value) {
    return load_bytes(from, lanes) == value;
}
inline Mask is_nan(Floats value) { return value != value; }
inline Mask either(Mask a, Mask b) { return a | b; }
inline Floats select(Mask where, Floats a, Floats b) { return where ? a : b; }
inline Floats add_where(Mask where, Floats sum, Floats value) { return sum + (where ? value : Floats{}); }
inline ShortMask greater(Shorts a, Shorts b) { return a > b; }
// a > b ? a : b; where the comparison is needed too, g++ would blend by it, which is slower.
#if defined(__AVX2__)
inline Floats larger(Floats a, Floats b) { return (Floats)_mm256_max_ps((__m256)a, (__m256)b); }
#elif defined(__SSE2__)
inline Floats larger(Floats a, Floats b) { return (Floats)_mm_max_ps((__m128)a, (__m128)b); }
#else
inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }
#endif
inline Shorts larger(Shorts a, Shorts b) { return a > b ? a : b; }
// `value`, but `to` where `where`; `to` is larger than any value, and within int16_t: a blend takes several operations.
inline Integers raised(Mask where, int32_t to, Integers value) {
    return (Integers)larger((Shorts)(where & to), (Shorts)value);
}
inline Shorts raised(ShortMask where, int16_t to, Shorts value) { return larger(where & to, value); }
template <class M> inline bool any(M where) {
    int64_t words[ALEXNET_REGISTER / 8], all = 0;
    std::memcpy(words, &where, sizeof words);
    for (const int64_t word : words) all |= word;
    return all != 0;
}
inline Floats rectified(Floats value) { return value < 0 ? Floats{} : value; }

// The lower bytes of numbers below 256.
inline void store_bytes(uint8_t *to, Shorts value) {
#if defined(__AVX2__)
    const __m256i wide = (__m256i)value;
    store_as(to, _mm_packus_epi16(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1)));
#elif defined(__SSE2__)
    _mm_storel_epi64((__m128i *)to, _mm_packus_epi16((__m128i)value, (__m128i)value));
#else
    typedef uint8_t EightBytes __attribute__((vector_size(8)));
    store_as(to, __builtin_convertvector(value, EightBytes));
#endif
}

}  // namespace
