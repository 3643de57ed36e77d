// Dequantisation and inverse DCT of 8x8 blocks, sixteen blocks at a time, one in each lane of a vector.
//
//     sample[y][x] = 128 + 1/4 sum_v sum_u C(u) C(v) F[v][u] cos((2x + 1) u pi / 16) cos((2y + 1) v pi / 16),
//     F = coefficient * quantisation step, C(0) = 1 / sqrt(2), C(k) = 1 otherwise,
//
// rounded as libjpeg's "islow" method (jidctint.c) rounds it: columns first, then rows, each by the algorithm of
// Loeffler, Ligtenberg and Moschytz (ICASSP 1989) in fixed point. The names of constants and variables are libjpeg's.
#pragma once

#include <cstdint>
#include <cstring>

#include "lanes.h"

namespace {

constexpr int CONST_BITS = 13;  // fractional bits of the constants
constexpr int PASS1_BITS = 2;   // fractional bits that are kept between columns and rows

constexpr int32_t FIX_0_298631336 = 2446;
constexpr int32_t FIX_0_390180644 = 3196;
constexpr int32_t FIX_0_541196100 = 4433;
constexpr int32_t FIX_0_765366865 = 6270;
constexpr int32_t FIX_0_899976223 = 7373;
constexpr int32_t FIX_1_175875602 = 9633;
constexpr int32_t FIX_1_501321110 = 12299;
constexpr int32_t FIX_1_847759065 = 15137;
constexpr int32_t FIX_1_961570560 = 16069;
constexpr int32_t FIX_2_053119869 = 16819;
constexpr int32_t FIX_2_562915447 = 20995;
constexpr int32_t FIX_3_072711026 = 25172;

constexpr int64_t GROUP = 64 * LANES;  // coefficients of sixteen blocks: [64][16], each block's in natural order
constexpr int CENTRE_SAMPLE = 128;     // level shift

// libjpeg-turbo's vector code adds up to four of a one-dimensional inverse DCT's numbers in 16 bits. From this on they
// may overflow there, and the result is another.
constexpr int32_t OVERFLOW_FROM = 1 << 13;

inline Ints descale(Ints value, int bits) { return (value + (1 << (bits - 1))) >> bits; }

// The inverse DCT of eight numbers in place, sqrt(8) times as large. `bits` are removed from the sums, which have
// CONST_BITS fractional bits more than the input.
inline void idct_1d(Ints v[8], int bits) {
    Ints z1 = (v[2] + v[6]) * FIX_0_541196100;
    Ints tmp2 = z1 - v[6] * FIX_1_847759065, tmp3 = z1 + v[2] * FIX_0_765366865;
    Ints tmp0 = (v[0] + v[4]) << CONST_BITS, tmp1 = (v[0] - v[4]) << CONST_BITS;
    const Ints even[4] = {tmp0 + tmp3, tmp1 + tmp2, tmp1 - tmp2, tmp0 - tmp3};

    z1 = (v[7] + v[1]) * -FIX_0_899976223;
    const Ints z2 = (v[5] + v[3]) * -FIX_2_562915447;
    const Ints z5 = (v[7] + v[3] + v[5] + v[1]) * FIX_1_175875602;
    const Ints z3 = (v[7] + v[3]) * -FIX_1_961570560 + z5;
    const Ints z4 = (v[5] + v[1]) * -FIX_0_390180644 + z5;
    tmp0 = v[7] * FIX_0_298631336 + z1 + z3;
    tmp1 = v[5] * FIX_2_053119869 + z2 + z4;
    tmp2 = v[3] * FIX_3_072711026 + z2 + z3;
    tmp3 = v[1] * FIX_1_501321110 + z1 + z4;
    const Ints odd[4] = {tmp3, tmp2, tmp1, tmp0};

    for (int i = 0; i < 4; i++) {
        v[i] = descale(even[i] + odd[i], bits);
        v[7 - i] = descale(even[i] - odd[i], bits);
    }
}

// One row of samples of sixteen blocks, from [8 columns][16 blocks] to [16 blocks][8 columns].
inline void store_row(Bytes columns[8], uint8_t *to) {
    Bytes zipped[8];
    for (int turn = 0; turn < 3; turn++) {
        for (int x = 0; x < 4; x++) {
            zipped[2 * x] = interleave_low(columns[x], columns[x + 4]);
            zipped[2 * x + 1] = interleave_high(columns[x], columns[x + 4]);
        }
        std::memcpy(columns, zipped, sizeof zipped);
    }
    std::memcpy(to, columns, sizeof zipped);
}

// The samples of sixteen blocks side by side: from `coefficients`, int16 [64][16], and `quantisation` steps, [64], to
// `samples`, uint8 [8][128], rows `stride` apart. `magnitudes` gathers the bits of all numbers that idct_1d takes (of a
// negative number's complement), for overflows().
inline void idct(const int16_t *coefficients, const uint16_t *quantisation, uint8_t *samples, int64_t stride,
                 Ints &magnitudes) {
    Ints workspace[8][8];
    for (int x = 0; x < 8; x++) {
        Ints column[8];
        for (int y = 0; y < 8; y++) {
            column[y] = widen(coefficients + (8 * y + x) * LANES) * quantisation[8 * y + x];
            magnitudes |= column[y] ^ column[y] >> 31;
        }
        idct_1d(column, CONST_BITS - PASS1_BITS);
        for (int y = 0; y < 8; y++) {
            workspace[y][x] = column[y];
            magnitudes |= column[y] ^ column[y] >> 31;
        }
    }
    for (int y = 0; y < 8; y++) {
        idct_1d(workspace[y], CONST_BITS + PASS1_BITS + 3);  // 3: both passes' sqrt(8)
        Bytes columns[8];
        for (int x = 0; x < 8; x++) columns[x] = saturate(workspace[y][x] + CENTRE_SAMPLE);
        store_row(columns, samples + y * stride);
    }
}

// Whether libjpeg-turbo's inverse DCT of these blocks may overflow.
inline bool overflows(const Ints &magnitudes) {
    for (int lane = 0; lane < LANES; lane++)
        if (magnitudes[lane] >= OVERFLOW_FROM) return true;
    return false;
}

}  // namespace
