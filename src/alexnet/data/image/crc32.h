// CRC-32 as in zlib, gzip and PNG (ISO 3309; polynomial 0x04C11DB7, reflected 0xEDB88320).
//
// Sixteen bytes a step by tables ("slicing by 16": Kounavis and Berry, A Systematic Approach to Building High
// Performance Software-Based CRC Generators, 2005). Where the processor multiplies without carries, 64 bytes a step:
// Gopal et al., Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction, Intel 2009.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__PCLMUL__) && defined(__SSE2__)
#include <immintrin.h>
#define HAS_CARRYLESS_PRODUCT
#endif

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words of the data are read as they are in memory");

namespace {

struct CrcTables {
    static constexpr int SLICES = 16;
    uint32_t of[SLICES][256] = {};  // of[s][b]: the remainder of byte b followed by s zero bytes

    constexpr CrcTables() {
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t remainder = byte;
            for (int bit = 0; bit < 8; bit++) remainder = remainder >> 1 ^ (remainder & 1 ? 0xEDB88320u : 0);
            of[0][byte] = remainder;
        }
        for (int s = 1; s < SLICES; s++)
            for (int byte = 0; byte < 256; byte++) of[s][byte] = of[s - 1][byte] >> 8 ^ of[0][of[s - 1][byte] & 255];
    }
};

constexpr CrcTables CRC_TABLES;

// The remainder after `bytes` more bytes.
inline uint32_t crc_by_tables(uint32_t remainder, const uint8_t *data, int64_t bytes) {
    const auto &table = CRC_TABLES.of;
    constexpr int SLICES = CrcTables::SLICES;
    for (; bytes >= SLICES; bytes -= SLICES, data += SLICES) {
        uint32_t words[SLICES / 4];
        std::memcpy(words, data, SLICES);
        words[0] ^= remainder;
        remainder = 0;
        for (int i = 0; i < SLICES; i++) remainder ^= table[SLICES - 1 - i][words[i / 4] >> 8 * (i % 4) & 255];
    }
    for (; bytes > 0; bytes--) remainder = remainder >> 8 ^ table[0][(remainder ^ *data++) & 255];
    return remainder;
}

#ifdef HAS_CARRYLESS_PRODUCT
constexpr int64_t FOLDED = 64;  // bytes a step, as four vectors

// Multiplies the low half of `value` by the low half of `factors`, and high by high: shifts it past later data.
inline __m128i folded(__m128i value, __m128i factors) {
    return _mm_xor_si128(_mm_clmulepi64_si128(value, factors, 0x00), _mm_clmulepi64_si128(value, factors, 0x11));
}

inline __m128i vector_at(const uint8_t *data) { return _mm_loadu_si128(reinterpret_cast<const __m128i *>(data)); }

// As crc_by_tables, for FOLDED bytes or more. The factors are the paper's k1 to k4.
inline uint32_t crc_by_folding(uint32_t remainder, const uint8_t *data, int64_t bytes) {
    const __m128i by_four = _mm_set_epi64x(0x1c6e41596, 0x154442bd4), by_one = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    __m128i part[4];
    for (int v = 0; v < 4; v++) part[v] = vector_at(data + 16 * v);
    part[0] = _mm_xor_si128(part[0], _mm_cvtsi32_si128(int(remainder)));
    for (data += FOLDED, bytes -= FOLDED; bytes >= FOLDED; data += FOLDED, bytes -= FOLDED)
        for (int v = 0; v < 4; v++) part[v] = _mm_xor_si128(folded(part[v], by_four), vector_at(data + 16 * v));
    for (int v = 1; v < 4; v++) part[v] = _mm_xor_si128(folded(part[v - 1], by_one), part[v]);
    uint8_t last[16];
    std::memcpy(last, &part[3], sizeof last);
    return crc_by_tables(crc_by_tables(0, last, sizeof last), data, bytes);
}
#endif

// zlib's crc32: `crc` is that of the data before, 0 at the beginning.
inline uint32_t crc32(uint32_t crc, const uint8_t *data, int64_t bytes) {
#ifdef HAS_CARRYLESS_PRODUCT
    if (bytes >= FOLDED) return ~crc_by_folding(~crc, data, bytes);
#endif
    return ~crc_by_tables(~crc, data, bytes);
}

}  // namespace
