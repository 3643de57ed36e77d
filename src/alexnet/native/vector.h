// Vectors for every processor, by the vector types that g++ and clang++ share: a kernel is written once, for the floats
// that fit into a register (AVX-512: 16, AVX2: 8, SSE2 and NEON: 4). data/image/lanes.h has the bytes of images.
//
// Intrinsics stand only here and in the two files below, where the compilers translate vector operations badly.
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
typedef uint32_t Unsigned __attribute__((vector_size(ALEXNET_REGISTER)));
typedef int16_t Shorts __attribute__((vector_size(ALEXNET_REGISTER)));  // twice as many

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

}  // namespace

// The operations that differ: with bit masks for the lanes, and without.
#ifdef ALEXNET_AVX512
#include "vector_avx512.h"
#else
#include "vector_generic.h"
#endif

namespace {

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

}  // namespace
