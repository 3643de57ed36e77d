// Images decoded, or the patches of them that are wanted: baseline JPEG of three colours, 4:4:4 or 4:2:0, to the same
// numbers as libjpeg-turbo (its "islow" inverse DCT and its "fancy" upsampling). Anything else, anything damaged and
// anything very large is refused, and for libjpeg-turbo to look at.
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

constexpr int GROUP = 64 * LANES;                 // coefficients of sixteen blocks: [64][16]
constexpr int64_t BEHIND = 32;                    // bytes that may be read behind the codes, all 0
constexpr int64_t MOST_PIXELS = 1 << 22;          // the memory for them is kept

// A block: its codes, for the first coefficient and the others, and where it goes.
struct Slot {
    const Table *dc, *ac;
    int16_t *to;
};

struct Jpeg {
    Tables tables;
    uint16_t quantum[4][64];          // in the order of rows
    bool has_quantum[4];
    int component_quantum[3];         // -1: not known
    int dc[3], ac[3];
    std::vector<uint8_t> codes;       // without the zeros that follow each byte of ones, and without markers
    std::vector<int64_t> restarts;    // where in the codes it begins anew, and where they end
    int64_t interval;                 // MCUs from one to the next; 0: never
    int64_t width, height, luma_stride, chroma_stride;  // pixels
    int64_t luma;                     // its samples for each of a colour, along a line and down: 1 or 2
    std::vector<int16_t> blocks;      // of a row of MCUs
    std::vector<Slot> slots;          // those blocks in the order of the codes
    std::vector<uint8_t> planes[3];
    std::vector<uint8_t> colour[2];   // a row of blue and of red differences, as wide as the image
    std::vector<uint16_t> sums;
    Ints large;                       // bits of all numbers before and within the inverse DCT

    bool read(const uint8_t *data, int64_t bytes, int64_t wanted_height, int64_t wanted_width);
    bool decode(int64_t first, int64_t last);
    void write(int64_t top, int64_t left, int64_t rows, int64_t columns, bool mirrored, uint8_t *out);

   private:
    bool frame(const uint8_t *at, int64_t bytes);
    bool quanta(const uint8_t *at, int64_t bytes);
    bool scan(const uint8_t *at, int64_t bytes);
    bool unstuff(const uint8_t *at, const uint8_t *end);
    bool coefficients(Bits &bits, const Slot *slot, const Slot *end) const;
    void transform(const int16_t *group, int component, uint8_t *to, int64_t stride);
    const uint8_t *in_full(int component, int64_t y);
};

inline int big_endian(const uint8_t *at) { return at[0] << 8 | at[1]; }

// The markers up to the codes, and the codes.
inline bool Jpeg::read(const uint8_t *data, int64_t bytes, int64_t wanted_height, int64_t wanted_width) {
    height = wanted_height, width = wanted_width, interval = 0;
    if (width * height > MOST_PIXELS || bytes > 3 * MOST_PIXELS) return false;
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
            case 0xDD: if (inside != 2) return false; interval = big_endian(content); break;
            case 0xE0: if (inside < 14 || std::memcmp(content, "JFIF\0\1", 6)) return false; break;
            case 0xE1: case 0xE2: case 0xED: case 0xFE: break;  // EXIF, colour profile, Photoshop, comment
            default: return false;
        }
    }
    return false;
}

inline bool Jpeg::frame(const uint8_t *at, int64_t bytes) {
    if (component_quantum[0] >= 0) return false;  // a second one
    if (bytes != 15 || at[0] != 8 || big_endian(at + 1) != height || big_endian(at + 3) != width || at[5] != 3)
        return false;
    luma = at[7] & 15;
    if (luma != 1 && luma != 2) return false;
    for (int component = 0; component < 3; component++) {
        const uint8_t *its = at + 6 + 3 * component;
        if (its[0] != component + 1 || its[1] != (component ? 0x11 : luma * 0x11) || its[2] > 3) return false;
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

// What lies between here and the end of the image, which must follow.
inline bool Jpeg::unstuff(const uint8_t *at, const uint8_t *end) {
    codes.resize(end - at + BEHIND);
    restarts.clear();
    uint8_t *to = codes.data();
    while (true) {
        const auto *ones = static_cast<const uint8_t *>(std::memchr(at, 0xFF, end - at));
        if (!ones || end - ones < 2) return false;
        std::memcpy(to, at, ones - at);
        to += ones - at;
        at = ones + 2;
        if (ones[1] == 0) {
            *to++ = 0xFF;
            continue;
        }
        const bool is_last = ones[1] == 0xD9;
        if (!is_last && (interval == 0 || ones[1] != 0xD0 + restarts.size() % 8)) return false;
        restarts.push_back(to - codes.data());
        if (is_last) break;
    }
    std::memset(to, 0, BEHIND);
    return true;
}

// The coefficients of the blocks from `slot` to before `end`, in the order of rows, each block's into every sixteenth
// place from its own on, where zeros are. Of the first only how much it is more than in the block before.
__attribute__((noinline)) bool Jpeg::coefficients(Bits &given, const Slot *slot, const Slot *end) const {
    Bits bits = given;  // in registers
    const uint8_t *last = codes.data() + restarts.back() + 8;
    const Table *table = slot->dc, *ac = slot->ac;
    int16_t *to = slot->to;
    for (int64_t k = -1;;) {
        bits.fill();
        if (bits.behind(last)) return false;
        for (int look = 0; look < 56 / USUAL; look++) {
            Entry entry = table->usual(bits);
            const bool usual = entry.all != 0;
            if (__builtin_expect(!usual, 0)) {
                bits.fill();
                entry = table->understand(bits.look(32));
            }
            const int16_t value = entry.value(bits.top());
            bits.drop(entry.bits());
            k += entry.advance();
            bool ends = entry.ends();
            if (__builtin_expect(k >= 63, 0)) {
                if (k > 63) return false;
                ends = true;
            }
            to[ROWS[k] * LANES] = value;
            table = ac;
            if (ends) {
                if (++slot == end) {
                    given = bits;
                    return true;
                }
                k = -1, to = slot->to, table = slot->dc, ac = slot->ac;
            }
            if (__builtin_expect(!usual, 0)) break;
        }
    }
}

// All codes; pixels only of the rows from `first` to before `last`, and of the blocks that they need.
__attribute__((noinline)) bool Jpeg::decode(int64_t first, int64_t last) {
    const int64_t side = 8 * luma, across = (width + side - 1) / side, down = (height + side - 1) / side,
                  luma_groups = (luma * across + LANES - 1) / LANES, chroma_groups = (across + LANES - 1) / LANES;
    luma_stride = luma_groups * LANES * 8, chroma_stride = chroma_groups * LANES * 8;
    planes[0].resize(down * side * luma_stride);
    planes[1].resize(down * 8 * chroma_stride);
    planes[2].resize(down * 8 * chroma_stride);
    blocks.resize((luma * luma_groups + 2 * chroma_groups) * GROUP);
    int16_t *const chroma[2] = {blocks.data() + luma * luma_groups * GROUP,
                                blocks.data() + (luma * luma_groups + chroma_groups) * GROUP};
    const auto slot = [&](int component, int16_t *row, int64_t x) {
        return Slot{&tables.table[0][dc[component]], &tables.table[1][ac[component]],
                    row + x / LANES * GROUP + x % LANES};
    };
    slots.clear();  // a row of MCUs, as it is read
    for (int64_t x = 0; x < across; x++) {
        for (int64_t row = 0; row < luma; row++)
            for (int64_t column = luma * x; column < luma * (x + 1); column++)
                slots.push_back(slot(0, blocks.data() + row * luma_groups * GROUP, column));
        for (int i = 0; i < 2; i++) slots.push_back(slot(i + 1, chroma[i], x));
    }
    const int64_t in_mcu = luma * luma + 2;

    large = Ints{};
    Bits bits(codes.data());
    int levels[3] = {};
    int64_t left = interval;  // MCUs until it begins anew
    size_t part = 0;
    for (int64_t y = 0; y < down; y++) {
        std::fill(blocks.begin(), blocks.end(), 0);
        for (int64_t x = 0; x < across;) {
            if (interval && left == 0) {
                if ((bits.position() + 7) / 8 != restarts[part] || part + 1 == restarts.size()) return false;
                bits = Bits(codes.data(), restarts[part++]);
                std::fill(levels, levels + 3, 0);
                left = interval;
            }
            const int64_t count = interval ? std::min(across - x, left) : across - x;
            const Slot *from = &slots[x * in_mcu], *to = from + count * in_mcu;
            if (!coefficients(bits, from, to)) return false;
            for (; from != to; from += in_mcu)
                for (int64_t i = 0; i < in_mcu; i++) {
                    int &level = levels[std::max<int64_t>(0, i + 3 - in_mcu)];
                    *from[i].to = int16_t(level += *from[i].to);
                }
            x += count, left -= count;
        }
        if (side * (y + 1) + 2 <= first || side * y - 2 >= last) continue;  // two, for upsampling
        for (int64_t row = 0; row < luma; row++)
            for (int64_t group = 0; group < luma_groups; group++)
                transform(blocks.data() + (row * luma_groups + group) * GROUP, 0,
                          planes[0].data() + (side * y + 8 * row) * luma_stride + group * LANES * 8, luma_stride);
        for (int i = 0; i < 2; i++)
            for (int64_t group = 0; group < chroma_groups; group++)
                transform(chroma[i] + group * GROUP, i + 1,
                          planes[i + 1].data() + 8 * y * chroma_stride + group * LANES * 8, chroma_stride);
    }
    // libjpeg-turbo calculates with 16 bits: of numbers that no image has it makes something else.
    for (int lane = 0; lane < LANES; lane++)
        if (large[lane] >= 1 << 13) return false;
    return (bits.position() + 7) / 8 == restarts[part] && part + 1 == restarts.size();
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
            for (int x = 0; x < 4; x++) {
                dealt[2 * x] = ZIP_LOW(pixels[x], pixels[x + 4]);
                dealt[2 * x + 1] = ZIP_HIGH(pixels[x], pixels[x + 4]);
            }
            std::memcpy(pixels, dealt, sizeof dealt);
        }
        std::memcpy(to + y * stride, pixels, sizeof pixels);
    }
}

// Row y of a component in full size. Of a colour with fewer samples: three parts of the nearer one and one of the
// farther, downwards and across.
inline const uint8_t *Jpeg::in_full(int component, int64_t y) {
    const uint8_t *plane = planes[component].data();
    if (component == 0 || luma == 1) return plane + y * (component ? chroma_stride : luma_stride);
    const int64_t rows = (height + 1) / 2, columns = (width + 1) / 2, near = y / 2;
    const int64_t far = y % 2 ? std::min(near + 1, rows - 1) : std::max<int64_t>(near - 1, 0);
    const uint8_t *__restrict a = plane + near * chroma_stride, *__restrict b = plane + far * chroma_stride;
    uint16_t *__restrict sum = sums.data() + 1;
    for (int64_t x = 0; x < columns; x++) sum[x] = 3 * a[x] + b[x];
    sum[-1] = sum[0], sum[columns] = sum[columns - 1];
    uint8_t *__restrict out = colour[component - 1].data();
    for (int64_t x = 0; x < columns; x++) {
        out[2 * x] = uint16_t(3 * sum[x] + sum[x - 1] + 8) >> 4;
        out[2 * x + 1] = uint16_t(3 * sum[x] + sum[x + 1] + 7) >> 4;
    }
    return out;
}

// The patch at (top, left), red, green and blue. It has sixteen columns at least.
inline void Jpeg::write(int64_t top, int64_t left, int64_t rows, int64_t columns, bool mirrored, uint8_t *out) {
    sums.resize(width + 4);
    for (auto &row : colour) row.resize(width + 2 + LANES);
    for (int64_t y = top; y < top + rows; y++, out += 3 * columns) {
        const uint8_t *row[3];
        for (int component = 0; component < 3; component++) row[component] = in_full(component, y) + left;
        for (int64_t done = 0; done < columns; done += LANES) {
            const int64_t x = std::min(done, columns - LANES);  // the last step may do again what was done
            const Ints light = widen(row[0] + x) * 65536 + 32768, blue = widen(row[1] + x) - 128,
                       red = widen(row[2] + x) - 128;
            Bytes r = clipped((light + red * 91881) >> 16), g = clipped((light - blue * 22554 - red * 46802) >> 16),
                  b = clipped((light + blue * 116130) >> 16);
            if (mirrored) r = REVERSED(r), g = REVERSED(g), b = REVERSED(b);
            store_interleaved(out + 3 * (mirrored ? columns - LANES - x : x), r, g, b);
        }
    }
}

}  // namespace
