// The pictures of a store decoded, or the patches of them that are wanted: baseline JPEG of three colours with 4:2:0
// sampling, as libjpeg-turbo writes it, to the same numbers as libjpeg-turbo (its "islow" inverse DCT and its "fancy"
// upsampling). Anything else and anything damaged is refused, and for libjpeg-turbo to look at.
//
// Sixteen blocks lie side by side, one in each lane of a vector, from the Huffman codes until they are pixels.
// Format: ITU-T T.81. Nothing is read or written outside what is given, whatever the bytes say.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "huffman.h"
#include "vector.h"

namespace {

constexpr int GROUP = 64 * LANES;                // coefficients of sixteen blocks: [64][16]
constexpr int64_t LONGEST_MCU = 6 * 64 * 31 / 8;  // bytes; a code has 16 bits and the number after it 15 at most

struct Jpeg {
    Tables tables;
    uint16_t quantum[4][64];          // in the order of rows
    bool has_quantum[4];
    int component_quantum[3];         // -1: not known
    int dc[3], ac[3];
    std::vector<uint8_t> codes;       // without the zeros that follow each byte of ones
    int64_t length;                   // of the codes
    int64_t size, luma_stride, chroma_stride;  // pixels
    std::vector<int16_t> blocks;      // of a row of MCUs
    std::vector<uint8_t> planes[3];
    std::vector<uint8_t> colour[2];   // a row of blue and of red differences, as wide as the picture
    std::vector<uint16_t> sums;
    Ints large;                       // bits of all numbers before and within the inverse DCT

    bool read(const uint8_t *data, int64_t bytes, int64_t wanted);
    bool decode(int64_t first, int64_t last);
    void write(int64_t top, int64_t left, int64_t crop, bool mirrored, uint8_t *out);

   private:
    bool frame(const uint8_t *at, int64_t bytes);
    bool quanta(const uint8_t *at, int64_t bytes);
    bool scan(const uint8_t *at, int64_t bytes);
    bool unstuff(const uint8_t *at, const uint8_t *end);
    inline __attribute__((always_inline)) bool block(Bits &bits, int component, int &level, int16_t *to) const;
    void transform(const int16_t *group, int component, uint8_t *to, int64_t stride);
    void upsample(const uint8_t *plane, int64_t y, uint8_t *to);
};

inline int big_endian(const uint8_t *at) { return at[0] << 8 | at[1]; }

// The markers up to the codes, and the codes.
inline bool Jpeg::read(const uint8_t *data, int64_t bytes, int64_t wanted) {
    size = wanted;
    tables.forget();
    std::fill(component_quantum, component_quantum + 3, -1);
    std::fill(has_quantum, has_quantum + 4, false);
    const uint8_t *at = data + 2, *end = data + bytes;
    if (bytes < 4 || big_endian(data) != 0xFFD8) return false;
    while (end - at >= 4 && at[0] == 0xFF) {
        const int marker = at[1], segment = big_endian(at + 2);
        const uint8_t *content = at + 4;
        if (segment < 2 || end - at < 2 + segment) return false;
        at += 2 + segment;
        const int64_t inside = segment - 2;
        switch (marker) {
            case 0xC0: if (!frame(content, inside)) return false; break;
            case 0xC4: if (!tables.define(content, inside)) return false; break;
            case 0xDB: if (!quanta(content, inside)) return false; break;
            case 0xDA: return scan(content, inside) && unstuff(at, end);
            case 0xE0: if (inside < 14 || std::memcmp(content, "JFIF\0\1", 6)) return false; break;
            case 0xFE: break;  // a comment
            default: return false;
        }
    }
    return false;
}

inline bool Jpeg::frame(const uint8_t *at, int64_t bytes) {
    if (bytes != 15 || at[0] != 8 || big_endian(at + 1) != size || big_endian(at + 3) != size || at[5] != 3) return false;
    for (int component = 0; component < 3; component++) {
        const uint8_t *its = at + 6 + 3 * component;
        if (its[0] != component + 1 || its[1] != (component ? 0x11 : 0x22) || its[2] > 3) return false;
        component_quantum[component] = its[2];
    }
    return true;
}

inline bool Jpeg::quanta(const uint8_t *at, int64_t bytes) {
    for (; bytes >= 65; at += 65, bytes -= 65) {
        if (at[0] > 3) return false;  // or of 16 bits
        for (int k = 0; k < 64; k++) quantum[at[0]][ROWS[k]] = at[1 + k];
        has_quantum[at[0]] = true;
    }
    return bytes == 0;
}

inline bool Jpeg::scan(const uint8_t *at, int64_t bytes) {
    if (bytes != 10 || at[0] != 3 || at[7] != 0 || at[8] != 63 || at[9] != 0) return false;
    for (int component = 0; component < 3; component++) {
        const int dc_table = at[2 + 2 * component] >> 4, ac_table = at[2 + 2 * component] & 15;
        const int its = component_quantum[component];
        if (at[1 + 2 * component] != component + 1 || its < 0 || !has_quantum[its]) return false;
        if (dc_table > 1 || ac_table > 1 || !tables.known[0][dc_table] || !tables.known[1][ac_table]) return false;
        dc[component] = dc_table, ac[component] = ac_table;
    }
    return true;
}

// What lies between here and the end of the picture, which must follow.
inline bool Jpeg::unstuff(const uint8_t *at, const uint8_t *end) {
    codes.resize(end - at + LONGEST_MCU + 16);
    uint8_t *to = codes.data();
    while (true) {
        const auto *ones = static_cast<const uint8_t *>(std::memchr(at, 0xFF, end - at));
        if (!ones || end - ones < 2) return false;
        std::memcpy(to, at, ones - at);
        to += ones - at;
        at = ones + 2;
        if (ones[1] == 0xD9) break;
        if (ones[1] != 0) return false;
        *to++ = 0xFF;
    }
    length = to - codes.data();
    std::memset(to, 0, LONGEST_MCU + 16);
    return true;
}

// The coefficients of a block, in the order of rows, into every sixteenth place of `to`, where zeros are.
inline bool Jpeg::block(Bits &bits, int component, int &level, int16_t *to) const {
    const Table &dc_table = tables.table[0][dc[component]], &ac_table = tables.table[1][ac[component]];
    bool usual;
    bits.fill();
    Entry entry = dc_table.next(bits, usual);
    if (entry.advance() == NO_CODE) return false;
    level += entry.value(bits.top());
    to[0] = int16_t(level);
    bits.drop(entry.bits());
    for (int k = 0;;) {
        bits.fill();
        for (int look = 0; look < 56 / USUAL; look++) {
            entry = ac_table.next(bits, usual);
            const int16_t value = entry.value(bits.top());
            bits.drop(entry.bits());
            k += entry.advance();
            if (k >= 63) {
                if (k == 63) to[63 * LANES] = value;
                return k == 63 || k >= END_OF_BLOCK;
            }
            to[ROWS[k] * LANES] = value;
            if (__builtin_expect(!usual, 0)) break;
        }
    }
}

// All codes; pixels only of the rows from `first` to before `last`, and of the blocks that they need.
__attribute__((noinline)) bool Jpeg::decode(int64_t first, int64_t last) {
    const int64_t mcus = (size + 15) / 16, luma_groups = (2 * mcus + LANES - 1) / LANES,
                  chroma_groups = (mcus + LANES - 1) / LANES;
    luma_stride = luma_groups * LANES * 8, chroma_stride = chroma_groups * LANES * 8;
    planes[0].resize(mcus * 16 * luma_stride);
    planes[1].resize(mcus * 8 * chroma_stride);
    planes[2].resize(mcus * 8 * chroma_stride);
    blocks.resize((2 * luma_groups + 2 * chroma_groups) * GROUP);
    int16_t *rows[4];  // two of luma, and one of each colour
    for (int row = 0; row < 4; row++)
        rows[row] = blocks.data() + (row < 3 ? row * luma_groups : 2 * luma_groups + chroma_groups) * GROUP;
    const auto place = [](int16_t *row, int64_t x) { return row + x / LANES * GROUP + x % LANES; };

    large = Ints{};
    Bits bits(codes.data());
    int levels[3] = {};
    for (int64_t y = 0; y < mcus; y++) {
        std::fill(blocks.begin(), blocks.end(), 0);
        for (int64_t x = 0; x < mcus; x++) {
            for (int part = 0; part < 4; part++)
                if (!block(bits, 0, levels[0], place(rows[part / 2], 2 * x + part % 2))) return false;
            for (int colour = 1; colour < 3; colour++)
                if (!block(bits, colour, levels[colour], place(rows[colour + 1], x))) return false;
            if (bits.position() > 8 * length) return false;
        }
        if (16 * (y + 1) + 2 <= first || 16 * y - 2 >= last) continue;  // two, for upsampling
        for (int row = 0; row < 2; row++)
            for (int64_t group = 0; group < luma_groups; group++)
                transform(rows[row] + group * GROUP, 0,
                          planes[0].data() + (16 * y + 8 * row) * luma_stride + group * LANES * 8, luma_stride);
        for (int colour = 1; colour < 3; colour++)
            for (int64_t group = 0; group < chroma_groups; group++)
                transform(rows[colour + 1] + group * GROUP, colour,
                          planes[colour].data() + 8 * y * chroma_stride + group * LANES * 8, chroma_stride);
    }
    // libjpeg-turbo calculates with 16 bits: of numbers that no picture has it makes something else.
    for (int lane = 0; lane < LANES; lane++)
        if (large[lane] >= 1 << 13) return false;
    return (bits.position() + 7) / 8 == length;
}

inline Ints rounded(Ints value, int shift) { return (value + (1 << (shift - 1))) >> shift; }

// The inverse DCT of eight numbers, as libjpeg's jidctint.c does it with 13 bits after the point.
inline void inverse_dct(Ints v[8], int shift) {
    Ints z1 = (v[2] + v[6]) * 4433;
    const Ints a2 = z1 - v[6] * 15137, a3 = z1 + v[2] * 6270;
    const Ints a0 = (v[0] + v[4]) << 13, a1 = (v[0] - v[4]) << 13;
    const Ints even[4] = {a0 + a3, a1 + a2, a1 - a2, a0 - a3};

    z1 = (v[7] + v[1]) * -7373;
    const Ints z2 = (v[5] + v[3]) * -20995, z5 = (v[7] + v[3] + v[5] + v[1]) * 9633;
    const Ints z3 = (v[7] + v[3]) * -16069 + z5, z4 = (v[5] + v[1]) * -3196 + z5;
    const Ints odd[4] = {v[1] * 12299 + z1 + z4, v[3] * 25172 + z2 + z3, v[5] * 16819 + z2 + z4,
                         v[7] * 2446 + z1 + z3};

    for (int i = 0; i < 4; i++) {
        v[i] = rounded(even[i] + odd[i], shift);
        v[7 - i] = rounded(even[i] - odd[i], shift);
    }
}

// Sixteen blocks side by side to pixels.
inline void Jpeg::transform(const int16_t *group, int component, uint8_t *to, int64_t stride) {
    const uint16_t *quanta = quantum[component_quantum[component]];
    Ints between[8][8];
    for (int x = 0; x < 8; x++) {
        Ints column[8];
        for (int y = 0; y < 8; y++) {
            column[y] = widen(group + (8 * y + x) * LANES) * quanta[8 * y + x];
            large |= column[y] ^ column[y] >> 31;
        }
        inverse_dct(column, 11);
        for (int y = 0; y < 8; y++) {
            between[y][x] = column[y];
            large |= column[y] ^ column[y] >> 31;
        }
    }
    for (int y = 0; y < 8; y++) {
        inverse_dct(between[y], 18);
        Bytes pixels[8], dealt[8];
        for (int x = 0; x < 8; x++) pixels[x] = clipped(between[y][x] + 128);
        for (int turn = 0; turn < 3; turn++) {  // afterwards block after block
            for (int x = 0; x < 4; x++) dealt[2 * x] = ZIP_LOW(pixels[x], pixels[x + 4]), dealt[2 * x + 1] = ZIP_HIGH(pixels[x], pixels[x + 4]);
            std::memcpy(pixels, dealt, sizeof dealt);
        }
        std::memcpy(to + y * stride, pixels, sizeof pixels);
    }
}

// Row y of a colour in full size: three parts of the nearer sample and one of the farther, downwards and across.
inline void Jpeg::upsample(const uint8_t *plane, int64_t y, uint8_t *to) {
    const int64_t half = (size + 1) / 2, near = y / 2;
    const int64_t far = y % 2 ? std::min(near + 1, half - 1) : std::max<int64_t>(near - 1, 0);
    const uint8_t *__restrict a = plane + near * chroma_stride, *__restrict b = plane + far * chroma_stride;
    uint16_t *__restrict sum = sums.data() + 1;
    for (int64_t x = 0; x < half; x++) sum[x] = 3 * a[x] + b[x];
    sum[-1] = sum[0], sum[half] = sum[half - 1];
    uint8_t *__restrict out = to;
    for (int64_t x = 0; x < half; x++) {
        out[2 * x] = uint16_t(3 * sum[x] + sum[x - 1] + 8) >> 4;
        out[2 * x + 1] = uint16_t(3 * sum[x] + sum[x + 1] + 7) >> 4;
    }
}

// The patch of crop x crop pixels at (top, left), red, green and blue. `crop` is sixteen at least.
inline void Jpeg::write(int64_t top, int64_t left, int64_t crop, bool mirrored, uint8_t *out) {
    sums.resize(size + 4);
    for (auto &row : colour) row.resize(size + 2 + LANES);
    for (int64_t y = 0; y < crop; y++, out += 3 * crop) {
        for (int i = 0; i < 2; i++) upsample(planes[i + 1].data(), top + y, colour[i].data());
        const uint8_t *luma = planes[0].data() + (top + y) * luma_stride;
        for (int64_t done = 0; done < crop; done += LANES) {
            const int64_t x = std::min(done, crop - LANES);  // the last step may do again what was done
            const Ints light = widen(luma + left + x) * 65536 + 32768, blue = widen(&colour[0][left + x]) - 128,
                       red = widen(&colour[1][left + x]) - 128;
            Bytes r = clipped((light + red * 91881) >> 16), g = clipped((light - blue * 22554 - red * 46802) >> 16),
                  b = clipped((light + blue * 116130) >> 16);
            if (mirrored) r = REVERSED(r), g = REVERSED(g), b = REVERSED(b);
            store_interleaved(out + 3 * (mirrored ? crop - LANES - x : x), r, g, b);
        }
    }
}

}  // namespace
