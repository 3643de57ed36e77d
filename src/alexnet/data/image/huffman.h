// Huffman entropy decoding of baseline JPEG (ITU-T T.81, annexes C and F.2.2).
//
// A block's 64 coefficients are coded in zigzag order. Each code stands for a run of zeros and the size, in bits, of
// the coefficient after them; the coefficient's own bits ("additional bits") follow the code. The first coefficient
// (DC) and the other 63 (AC) have tables of their own.
//
// One lookup by the next 10 bits decodes most codes with their additional bits. The bit reader is refilled once for
// three such lookups.
#pragma once

#include <cstdint>
#include <cstring>

#include "lanes.h"

namespace {

constexpr int LOOKAHEAD_BITS = 10;               // index of the lookup table
constexpr int FILL_BITS = 56;                    // bits that a refill guarantees
constexpr int SHORT_BITS = FILL_BITS / 3;        // longest code with additional bits that the lookup table holds
constexpr int LAST_INDEX = 63;                   // of a block's coefficients, in zigzag order
constexpr int INVALID_ADVANCE = LAST_INDEX + 2;  // leads past the last coefficient from anywhere in a block
constexpr int MAX_DC_SIZE = 11;                  // bits of a DC difference, in 8-bit images

// Index in natural order (row by row) of each coefficient in zigzag order (T.81, figure A.6).
constexpr uint8_t NATURAL_ORDER[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,
                                       12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,  7,  14, 21, 28,
                                       35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
                                       58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

// Reads bits from memory, the most significant of each byte first. Eight bytes beyond the last bit used must exist.
class BitReader {
   public:
    explicit BitReader(const uint8_t *data, int64_t offset = 0) : start(data), next(data + offset) {}

    // Makes at least FILL_BITS bits available.
    void fill() {
        uint64_t bytes;
        std::memcpy(&bytes, next, 8);
        buffer |= __builtin_bswap64(bytes) >> available;  // lanes.h asserts a little-endian processor
        next += (63 - available) >> 3;
        available |= FILL_BITS;
    }

    bool has_passed(const uint8_t *end) const { return next > end; }
    uint64_t window() const { return buffer; }  // the next 64 bits, the first on top
    uint32_t peek(int bits) const { return uint32_t(buffer >> (64 - bits)); }

    void skip(int bits) {
        buffer <<= bits & 63;
        available -= bits;
    }

    // Bytes that have been read from, a partly read one included.
    int64_t bytes_read() const { return (8 * (next - start) - available + 7) / 8; }

   private:
    const uint8_t *start, *next;
    uint64_t buffer = 0;
    int available = 0;
};

// A code and what it means, packed into 32 bits: bits of the code with its additional bits (0 to 5), whether it ends
// the block (7), bits of the code alone (8 to 15), 63 minus the number of additional bits (16 to 23), and by how many
// the coefficient's zigzag index is higher than the one before (24 to 31).
struct Entry {
    uint32_t packed;
    static constexpr uint32_t END_OF_BLOCK = 0x80;

    Entry(int code_bits, int size, int advance, bool ends_block)
        : packed(uint32_t(code_bits + size) | (ends_block ? END_OF_BLOCK : 0) | uint32_t(code_bits) << 8 |
                 uint32_t(63 - size) << 16 | uint32_t(advance) << 24) {}
    explicit Entry(uint32_t packed) : packed(packed) {}

    int total_bits() const { return packed & 63; }
    int code_bits() const { return packed >> 8 & 63; }
    int advance() const { return packed >> 24; }
    bool ends_block() const { return packed & END_OF_BLOCK; }  // EOB: the coefficient is 0, as are all after it

    // The coefficient, `window` being the next 64 bits: EXTEND of T.81 (figure F.12). A first additional bit of 0 means
    // a negative number, whose magnitude is the complement of the bits.
    int16_t value(uint64_t window) const {
        const int64_t bits = int64_t(window << code_bits()), negative = ~(bits >> 63);  // all ones or 0
        return int16_t(((uint64_t(bits ^ negative) >> 1 >> (packed >> 16 & 63)) ^ negative) - negative);
    }
};

class HuffmanTable {
   public:
    // From the part of a DHT segment that follows its first byte: 16 numbers of codes, by length, and the symbols.
    // Returns the bytes used, or 0 for an invalid table. A table equal to the one before is not built again.
    int64_t define(const uint8_t *content, int64_t bytes, bool dc) {
        int64_t symbols = 0;
        if (bytes < 16) return 0;
        for (int length = 1; length <= 16; length++) symbols += content[length - 1];
        if (symbols > 256 || bytes < 16 + symbols) return 0;
        if (used == 16 + symbols && std::memcmp(counts, content, used) == 0) return used;
        used = 0, is_dc = dc;
        std::memcpy(counts, content, 16 + symbols);
        int code = 0, index = 0;
        for (int length = 1; length <= 16; length++, code <<= 1) {
            first_code[length] = code, first_symbol[length] = index;
            code += counts[length - 1], index += counts[length - 1];
            if (code >= 1 << length) return 0;  // no code is all ones (T.81, annex C)
        }
        for (int i = 0; is_dc && i < symbols; i++)
            if (counts[16 + i] > MAX_DC_SIZE) return 0;
        for (uint32_t bits = 0; bits < 1 << LOOKAHEAD_BITS; bits++) {
            const Entry entry = decode(bits << (32 - LOOKAHEAD_BITS));
            const bool is_short = entry.total_bits() <= SHORT_BITS && entry.code_bits() <= LOOKAHEAD_BITS;
            lookup_table[bits] = is_short ? entry.packed : 0;
        }
        return used = 16 + symbols;
    }

    // The next code; 0 if it is too long for the lookup table.
    Entry lookup(const BitReader &bits) const { return Entry(lookup_table[bits.peek(LOOKAHEAD_BITS)]); }

    // The code that 32 bits begin with, bit by bit (T.81, figure F.16). INVALID_ADVANCE if there is none.
    __attribute__((noinline)) Entry decode(uint32_t bits) const {
        for (int length = 1; length <= 16; length++) {
            const int code = int(bits >> (32 - length)), index = code - first_code[length];
            if (index < 0 || index >= counts[length - 1]) continue;
            const int symbol = counts[16 + first_symbol[length] + index];  // run and size, four bits each
            const int size = symbol & 15, run = is_dc || (size == 0 && symbol != ZRL) ? 0 : symbol >> 4;
            return {length, size, run + 1, !is_dc && size == 0 && run != 15};
        }
        return {1, 0, INVALID_ADVANCE, false};
    }

   private:
    static constexpr int ZRL = 0xF0;  // sixteen zeros; any other symbol of size 0 ends the block

    uint32_t lookup_table[1 << LOOKAHEAD_BITS];
    int first_code[17], first_symbol[17];  // by length: MINCODE and VALPTR of T.81
    uint8_t counts[16 + 256];              // codes of each length, and the symbols
    int64_t used = 0;
    bool is_dc;
};

// A block to be decoded: its tables, and its first coefficient within those of sixteen blocks, int16 [64][16].
struct Block {
    const HuffmanTable *dc, *ac;
    int16_t *coefficients;
};

// Reads the next code with its additional bits, whose value it gives, and whether the lookup table lacked the code.
inline __attribute__((always_inline)) Entry next_entry(BitReader &bits, const HuffmanTable *table, int16_t &value,
                                                       bool &is_long) {
    Entry entry = table->lookup(bits);
    is_long = entry.packed == 0;
    if (__builtin_expect(is_long, 0)) {
        bits.fill();
        entry = table->decode(bits.peek(32));
    }
    value = entry.value(bits.window());
    bits.skip(entry.total_bits());
    return entry;
}

// Decodes the blocks from `block` to `end` (exclusive) into coefficients in natural order, which must be 0 before. The
// DC coefficients are differences still. Returns false for invalid codes, and if the reader passes `limit`.
__attribute__((noinline)) bool decode_blocks(BitReader &reader, const uint8_t *limit, const Block *block,
                                             const Block *end) {
    BitReader bits = reader;  // a copy stays in registers
    const HuffmanTable *table = block->dc, *ac = block->ac;
    int16_t *coefficients = block->coefficients;
    for (int64_t index = -1;;) {
        bits.fill();
        if (bits.has_passed(limit)) return false;
        for (int lookup = 0; lookup < FILL_BITS / SHORT_BITS; lookup++) {
            int16_t value;
            bool is_long;
            const Entry entry = next_entry(bits, table, value, is_long);
            index += entry.advance();
            bool ends_block = entry.ends_block();
            if (__builtin_expect(index >= LAST_INDEX, 0)) {
                if (index > LAST_INDEX) return false;
                ends_block = true;
            }
            coefficients[NATURAL_ORDER[index] * LANES] = value;
            table = ac;
            if (ends_block) {
                if (++block == end) {
                    reader = bits;
                    return true;
                }
                index = -1, coefficients = block->coefficients, table = block->dc, ac = block->ac;
            }
            if (__builtin_expect(is_long, 0)) break;  // fewer bits are left than further lookups need
        }
    }
}

}  // namespace
