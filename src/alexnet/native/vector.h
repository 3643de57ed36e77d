// Vectors for every processor, by the vector types that g++ and clang++ share: a kernel is written once, for the floats
// that fit into a register (AVX-512: 16, AVX2: 8, SSE2 and NEON: 4). data/image/lanes.h has the bytes of images.
//
// Intrinsics stand only here, in the functions whose vector operations the compilers translate badly.
#pragma once

#include <cstdint>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define ALEXNET_AVX512
#define ALEXNET_REGISTER 64  // bytes
#elif defined(__AVX2__)
#define ALEXNET_REGISTER 32
#else
#define ALEXNET_REGISTER 16
#endif
#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace {

// The instruction set that this file uses.
inline const char *instruction_set() {
#if defined(ALEXNET_AVX512)
    return "AVX-512";
#elif defined(__AVX2__)
    return "AVX2";
#elif defined(__SSE2__)
    return "SSE2";
#elif defined(__ARM_NEON)
    return "NEON";
#else
    return "vectors of 16 bytes";
#endif
}

// ---- One number ----

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

// Rounds to nearest, ties to even.
inline void narrow(float value, bfloat16 &to) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    to.bits = value != value ? 0x7fc0 : uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Memory aligned to a line of the cache: loads of a vector that lies over two lines cost twice as much.
template <class T> struct Aligned {
    using value_type = T;
    Aligned() = default;
    template <class S> Aligned(const Aligned<S> &) {}
    T *allocate(size_t count) { return (T *)::operator new(count * sizeof(T), std::align_val_t(64)); }
    void deallocate(T *memory, size_t) { ::operator delete(memory, std::align_val_t(64)); }
    friend bool operator==(Aligned, Aligned) { return true; }
    friend bool operator!=(Aligned, Aligned) { return false; }
};
template <class T> using Buffer = std::vector<T, Aligned<T>>;

// ---- Floats, as many as a register holds ----

constexpr int64_t WIDTH = ALEXNET_REGISTER / sizeof(float);
typedef float Floats __attribute__((vector_size(ALEXNET_REGISTER)));
typedef int32_t Integers __attribute__((vector_size(ALEXNET_REGISTER)));  // as many
typedef int16_t Shorts __attribute__((vector_size(ALEXNET_REGISTER)));    // twice as many

inline Floats all(float value) { return value - Floats{}; }
inline Integers all(int32_t value) { return value - Integers{}; }
inline Floats as_floats(Integers bits) { return (Floats)bits; }
inline Integers as_integers(Floats value) { return (Integers)value; }

// The lanes of a and b, counted through, that are named.
#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
template <class V> struct IndexOf {
    using Vector = V;
};  // of shuffles
template <> struct IndexOf<Floats> {
    using Vector = Integers;
};
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, typename IndexOf<decltype(a + b)>::Vector{__VA_ARGS__})
#endif

// The lanes of a vector that a load, store or sum is about: `Whole` all of them, known when compiling, `Part` the
// first.
#ifdef ALEXNET_AVX512
typedef __mmask16 Mask;  // a bit per lane
typedef __mmask32 ShortMask;
struct Whole {
    Whole(int64_t) {}
    operator Mask() const { return 0xffff; }
};
struct Part {
    Mask lanes;
    Part(int64_t count) : lanes(count >= WIDTH ? 0xffff : count <= 0 ? 0 : (1u << count) - 1) {}
    operator Mask() const { return lanes; }
};
#else
typedef Integers Mask;  // all bits of a lane, or none
typedef Shorts ShortMask;
struct Whole {
    Whole(int64_t) {}
};
struct Part {
    int64_t count;
    Part(int64_t count) : count(count < 0 ? 0 : count) {}
};
#endif

template <class V, class T> inline V load_as(const T *from) {
    V value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <class V, class T> inline void store_as(T *to, V value) { std::memcpy(to, &value, sizeof value); }

inline Floats load(const float *from) { return load_as<Floats>(from); }
inline void store(float *to, Floats value) { store_as(to, value); }

#if defined(ALEXNET_AVX512)
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

#else
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
#endif

// The lower bytes of numbers below 256.
inline void store_bytes(uint8_t *to, Shorts value) {
#if defined(ALEXNET_AVX512)
    store_as(to, _mm512_cvtepi16_epi8((__m512i)value));
#elif defined(__AVX2__)
    const __m256i wide = (__m256i)value;
    store_as(to, _mm_packus_epi16(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1)));
#elif defined(__SSE2__)
    _mm_storel_epi64((__m128i *)to, _mm_packus_epi16((__m128i)value, (__m128i)value));
#else
    typedef uint8_t EightBytes __attribute__((vector_size(8)));
    store_as(to, __builtin_convertvector(value, EightBytes));
#endif
}

// The floats of the sequence low, high from lane COUNT on.
template <int COUNT, size_t... I> inline Floats shifted(Floats low, Floats high, std::index_sequence<I...>) {
#if defined(ALEXNET_AVX512)
    return (Floats)_mm512_alignr_epi32((__m512i)high, (__m512i)low, COUNT);
#else
    return SHUFFLE(low, high, int(COUNT + I)...);
#endif
}

template <int COUNT> inline Floats shifted(Floats low, Floats high) {
    return shifted<COUNT>(low, high, std::make_index_sequence<WIDTH>());
}

// max(x, 0); NaN stays.
inline float rectified(float value) { return value < 0 ? 0 : value; }

#ifdef ALEXNET_AVX512
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
#endif

}  // namespace
