// The Huffman codes of baseline JPEG (ITU-T T.81, annexes C and F), most of them by one look at a table.
#pragma once

#include <cstdint>
#include <cstring>

namespace {

constexpr int LOOK = 10;            // bits of a look
constexpr int USUAL = 18;           // most bits of a code and its number, but for few
constexpr int END_OF_BLOCK = 128;   // advances that lead behind any coefficient
constexpr int NO_CODE = 64;

// Where each coefficient of the zigzag lies in the order of rows.
constexpr uint8_t ROWS[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
                              41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
                              30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

// Sixty-four bits of what is read, the next one on top. It may be read on for eight bytes behind what is asked for.
class Bits {
   public:
    explicit Bits(const uint8_t *codes, int64_t from = 0) : start(codes), at(codes + from) {}

    // At least 56 bits are there afterwards, enough for `LOOKS`.
    void fill() {
        uint64_t next;
        std::memcpy(&next, at, 8);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        next = __builtin_bswap64(next);
#endif
        buffer |= next >> count;
        at += (63 - count) >> 3;
        count |= 56;
    }

    uint64_t top() const { return buffer; }
    uint32_t look(int bits) const { return uint32_t(buffer >> (64 - bits)); }

    void drop(int bits) {
        buffer <<= bits;
        count -= bits;
    }

    int64_t position() const { return 8 * (at - start) - count; }

   private:
    const uint8_t *start, *at;
    uint64_t buffer = 0;
    int count = 0;
};

// What comes next: how many bits a code has with the number behind it, how far it is to the coefficient, and how many
// of the bits are the number's.
struct Entry {
    uint32_t all;

    Entry(int bits, int advance, int size) : all(uint32_t(bits | advance << 8 | size << 16)) {}
    explicit Entry(uint32_t all) : all(all) {}

    int bits() const { return uint8_t(all); }
    int size() const { return all >> 16; }
    int advance() const { return uint8_t(all >> 8); }

    // The number, `top` being the next 64 bits.
    int16_t value(uint64_t top) const {
        const int power = 1 << size();
        const int number = int(top >> (64 - bits())) & (power - 1);
        return int16_t(number < power >> 1 ? number - power + 1 : number);
    }
};

class Table {
   public:
    // From a segment DHT behind its first byte: how many codes have each length, and their symbols. Bytes used, or 0.
    int64_t define(const uint8_t *segment, int64_t bytes, bool dc) {
        int64_t symbols = 0;
        if (bytes < 16) return 0;
        for (int length = 1; length <= 16; length++) symbols += segment[length - 1];
        if (symbols > 256 || bytes < 16 + symbols) return 0;
        if (used == 16 + symbols && std::memcmp(counts, segment, used) == 0) return used;  // as in the picture before
        used = 0, is_dc = dc;
        std::memcpy(counts, segment, 16 + symbols);
        int code = 0, next = 0;
        for (int length = 1; length <= 16; length++, code <<= 1) {
            first_code[length] = code, first_symbol[length] = next;
            code += counts[length - 1], next += counts[length - 1];
            if (code > 1 << length) return 0;
        }
        for (int i = 0; is_dc && i < symbols; i++)
            if (counts[16 + i] > 11) return 0;
        for (uint32_t look = 0; look < 1 << LOOK; look++) {
            const Entry entry = understand(look << (32 - LOOK));
            known[look] = entry.bits() <= USUAL && entry.bits() - entry.size() <= LOOK ? entry.all : 0;
        }
        return used = 16 + symbols;
    }

    // What `bits` begin with, and where they are few enough for several in a fill.
    __attribute__((always_inline)) Entry next(Bits &bits, bool &usual) const {
        const Entry entry(known[bits.look(LOOK)]);
        usual = entry.all != 0;
        if (__builtin_expect(usual, 1)) return entry;
        bits.fill();
        return understand(bits.look(32));
    }

   private:
    // What 16 bits begin with, the first of a code. Its advance is NO_CODE where that is no code.
    __attribute__((noinline)) Entry understand(uint32_t bits) const {
        for (int length = 1; length <= 16; length++) {
            const int code = int(bits >> (32 - length)), place = code - first_code[length];
            if (place < 0 || place >= counts[length - 1]) continue;
            const int symbol = counts[16 + first_symbol[length] + place];
            const int run = is_dc ? 0 : symbol >> 4, size = symbol & 15;
            if (size == 0) return {length, is_dc ? 1 : run == 15 ? 16 : END_OF_BLOCK, 0};
            return {length + size, run + 1, size};
        }
        return {1, NO_CODE, 0};
    }

    uint32_t known[1 << LOOK];
    int first_code[17], first_symbol[17];
    uint8_t counts[16 + 256];  // of each length, and the symbols
    int64_t used = 0;
    bool is_dc;
};

// Those of a picture, for the first coefficient of a block and for the others.
struct Tables {
    Table table[2][2];
    bool known[2][2];

    void forget() { std::memset(known, 0, sizeof known); }

    bool define(const uint8_t *at, int64_t bytes) {
        while (bytes > 0) {
            const int kind = at[0] >> 4, number = at[0] & 15;
            if (kind > 1 || number > 1) return false;
            const int64_t used = table[kind][number].define(at + 1, bytes - 1, kind == 0);
            if (!used) return false;
            known[kind][number] = true;
            at += 1 + used, bytes -= 1 + used;
        }
        return true;
    }
};

}  // namespace
