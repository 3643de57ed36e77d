// The Huffman codes of baseline JPEG (ITU-T T.81, annexes C and F), most of them by one look at a table.
#pragma once

#include <cstdint>
#include <cstring>

namespace {

constexpr int LOOK = 10;            // bits of a look
constexpr int USUAL = 18;           // most bits of a code and its number, but for few
constexpr int NO_CODE = 65;         // an advance that leads behind any coefficient

// Where each coefficient of the zigzag lies in the order of rows.
constexpr uint8_t ROWS[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
                              41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
                              30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

// Sixty-four bits of what is read, the next one on top. It may be read on for eight bytes behind what is asked for.
class Bits {
   public:
    explicit Bits(const uint8_t *codes, int64_t from = 0) : start(codes), at(codes + from) {}

    // At least 56 bits are there afterwards, enough for several looks.
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

    bool behind(const uint8_t *end) const { return at > end; }
    uint64_t top() const { return buffer; }
    uint32_t look(int bits) const { return uint32_t(buffer >> (64 - bits)); }

    void drop(int bits) {
        buffer <<= bits & 63;
        count -= bits;
    }

    int64_t position() const { return 8 * (at - start) - count; }

   private:
    const uint8_t *start, *at;
    uint64_t buffer = 0;
    int count = 0;
};

// What comes next: a code and the number behind it.
struct Entry {
    uint32_t all;  // bytes from below: bits of both and ENDS, bits of the code, 63 less those of the number, advance
    static constexpr uint32_t ENDS = 0x80;

    Entry(int code, int number, int advance, bool ends)
        : all(uint32_t(code + number) | (ends ? ENDS : 0) | uint32_t(code) << 8 | uint32_t(63 - number) << 16 |
              uint32_t(advance) << 24) {}
    explicit Entry(uint32_t all) : all(all) {}

    int bits() const { return all & 63; }
    int code() const { return all >> 8 & 63; }
    int advance() const { return all >> 24; }  // to the coefficient
    bool ends() const { return all & ENDS; }   // the block, with a coefficient that is 0

    // The number, `top` being the next 64 bits.
    int16_t value(uint64_t top) const {
        const int64_t number = int64_t(top << code()), sign = ~(number >> 63);  // all ones for a negative one
        return int16_t(((uint64_t(number ^ sign) >> 1 >> (all >> 16 & 63)) ^ sign) - sign);
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
        if (used == 16 + symbols && std::memcmp(counts, segment, used) == 0) return used;  // as in the image before
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
            known[look] = entry.bits() <= USUAL && entry.code() <= LOOK ? entry.all : 0;
        }
        return used = 16 + symbols;
    }

    // What `bits` begin with; 0 where these are too many for several in a fill, and for `understand`.
    Entry usual(const Bits &bits) const { return Entry(known[bits.look(LOOK)]); }

    // What 32 bits begin with. Its advance is NO_CODE where that is no code.
    __attribute__((noinline)) Entry understand(uint32_t bits) const {
        for (int length = 1; length <= 16; length++) {
            const int code = int(bits >> (32 - length)), place = code - first_code[length];
            if (place < 0 || place >= counts[length - 1]) continue;
            const int symbol = counts[16 + first_symbol[length] + place];
            const int size = symbol & 15, run = is_dc || (size == 0 && symbol != 0xF0) ? 0 : symbol >> 4;
            return {length, size, run + 1, !is_dc && size == 0 && run != 15};
        }
        return {1, 0, NO_CODE, false};
    }

   private:
    uint32_t known[1 << LOOK];
    int first_code[17], first_symbol[17];
    uint8_t counts[16 + 256];  // of each length, and the symbols
    int64_t used = 0;
    bool is_dc;
};

// Those of an image, for the first coefficient of a block and for the others.
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
