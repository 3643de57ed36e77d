// The marker segments of a baseline JPEG file (ITU-T T.81, annex B): SOF0, DHT, DQT, DRI and SOS, and the entropy-coded
// data of its only scan. Nothing outside the given bytes is read, whatever they are.
//
// Accepted: three components Y, Cb, Cr (JFIF's identifiers 1, 2, 3) of 8 bits, 4:4:4 or 4:2:0, in one interleaved scan.
// All else is refused.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "huffman.h"

namespace {

constexpr int64_t MAX_PIXELS = 1 << 22;  // each thread keeps memory for as many
constexpr int64_t MAX_JPEG_BYTES = 3 * MAX_PIXELS;
constexpr int64_t PADDING = 32;  // zero bytes behind the entropy-coded data, where the bit reader may look

enum Marker {
    RST0 = 0xD0,
    SOI = 0xD8,
    EOI = 0xD9,
    SOF0 = 0xC0,
    DHT = 0xC4,
    DQT = 0xDB,
    SOS = 0xDA,
    DRI = 0xDD,
    APP0 = 0xE0,
    APP1 = 0xE1,
    APP2 = 0xE2,
    APP13 = 0xED,
    COM = 0xFE
};

inline int big_endian(const uint8_t *bytes) { return bytes[0] << 8 | bytes[1]; }

struct Component {
    int quantisation;  // index of its table; -1 before SOF0
    int dc, ac;        // indices of its Huffman tables
};

struct Segments {
    int64_t height, width;
    int64_t sampling;  // sampling factor of Y in both directions: 1 (4:4:4) or 2 (4:2:0); that of Cb and Cr is 1
    Component components[3];
    uint16_t quantisation[4][64];  // in natural order
    HuffmanTable dc[2], ac[2];
    int64_t restart_interval;      // MCUs; 0: no restart markers
    std::vector<uint8_t> entropy;  // the entropy-coded data, without stuffed bytes and markers, and PADDING
    std::vector<int64_t> ends;     // of each restart interval, in `entropy`

    // Reads a whole file. Returns false unless it is an image of this size that is accepted.
    bool parse(const uint8_t *data, int64_t bytes, int64_t expected_height, int64_t expected_width);

   private:
    bool has_quantisation[4], has_dc[2], has_ac[2];

    bool parse_segment(int marker, const uint8_t *content, int64_t bytes);
    bool parse_frame(const uint8_t *content, int64_t bytes);
    bool parse_quantisation(const uint8_t *content, int64_t bytes);
    bool parse_huffman(const uint8_t *content, int64_t bytes);
    bool parse_scan(const uint8_t *content, int64_t bytes);
    bool unstuff(const uint8_t *data, const uint8_t *end);
};

inline bool Segments::parse(const uint8_t *data, int64_t bytes, int64_t expected_height, int64_t expected_width) {
    height = expected_height, width = expected_width, restart_interval = 0;
    if (width * height > MAX_PIXELS || bytes > MAX_JPEG_BYTES) return false;
    for (Component &component : components) component.quantisation = -1;
    std::fill(has_quantisation, has_quantisation + 4, false);
    std::fill(has_dc, has_dc + 2, false);
    std::fill(has_ac, has_ac + 2, false);
    const uint8_t *at = data + 2, *end = data + bytes;
    if (bytes < 4 || data[0] != 0xFF || data[1] != SOI) return false;
    while (end - at >= 4 && at[0] == 0xFF) {
        const int marker = at[1], length = big_endian(at + 2);  // the two bytes of the length included
        const uint8_t *content = at + 4;
        if (length < 2 || end - at < 2 + length) return false;
        at += 2 + length;
        if (!parse_segment(marker, content, length - 2)) return false;
        if (marker == SOS) return unstuff(at, end);
    }
    return false;
}

inline bool Segments::parse_segment(int marker, const uint8_t *content, int64_t bytes) {
    switch (marker) {
        case SOF0: return parse_frame(content, bytes);
        case DHT: return parse_huffman(content, bytes);
        case DQT: return parse_quantisation(content, bytes);
        case SOS: return parse_scan(content, bytes);
        case DRI:
            if (bytes != 2) return false;
            restart_interval = big_endian(content);
            return true;
        case APP0: return bytes >= 14 && std::memcmp(content, "JFIF\0\1", 6) == 0;
        case APP1:
        case APP2:
        case APP13:
        case COM: return true;  // EXIF, colour profile, Photoshop, comment
        default: return false;
    }
}

inline bool Segments::parse_frame(const uint8_t *content, int64_t bytes) {
    const bool is_second = components[0].quantisation >= 0;
    if (bytes != 15 || is_second) return false;
    const int precision = content[0], count = content[5];
    if (precision != 8 || big_endian(content + 1) != height || big_endian(content + 3) != width || count != 3)
        return false;
    sampling = content[7] & 15;
    if (sampling != 1 && sampling != 2) return false;
    for (int i = 0; i < 3; i++) {
        const uint8_t *entry = content + 6 + 3 * i;  // identifier, sampling factors, quantisation table
        if (entry[0] != i + 1 || entry[1] != (i ? 0x11 : sampling * 0x11) || entry[2] > 3) return false;
        components[i].quantisation = entry[2];
    }
    return true;
}

inline bool Segments::parse_quantisation(const uint8_t *content, int64_t bytes) {
    for (; bytes >= 65; content += 65, bytes -= 65) {
        const int index = content[0];
        if (index > 3) return false;  // also if the table has 16-bit steps
        for (int k = 0; k < 64; k++) quantisation[index][NATURAL_ORDER[k]] = content[1 + k];
        has_quantisation[index] = true;
    }
    return bytes == 0;
}

inline bool Segments::parse_huffman(const uint8_t *content, int64_t bytes) {
    while (bytes > 0) {
        const int kind = content[0] >> 4, index = content[0] & 15;
        if (kind > 1 || index > 1) return false;
        const int64_t used = (kind ? ac : dc)[index].define(content + 1, bytes - 1, kind == 0);
        if (!used) return false;
        (kind ? has_ac : has_dc)[index] = true;
        content += 1 + used, bytes -= 1 + used;
    }
    return true;
}

inline bool Segments::parse_scan(const uint8_t *content, int64_t bytes) {
    // Three components, all coefficients (0 to 63), all bits.
    if (bytes != 10 || content[0] != 3 || content[7] != 0 || content[8] != 63 || content[9] != 0) return false;
    for (int i = 0; i < 3; i++) {
        const uint8_t *entry = content + 1 + 2 * i;  // identifier, Huffman tables
        Component &component = components[i];
        if (entry[0] != i + 1 || component.quantisation < 0 || !has_quantisation[component.quantisation]) return false;
        component.dc = entry[1] >> 4, component.ac = entry[1] & 15;
        if (component.dc > 1 || component.ac > 1 || !has_dc[component.dc] || !has_ac[component.ac]) return false;
    }
    return true;
}

// Copies the entropy-coded data to `entropy`, without the zero that is stuffed after each byte FF and without the
// restart markers, which must be in order. EOI must follow.
inline bool Segments::unstuff(const uint8_t *data, const uint8_t *end) {
    entropy.resize(end - data + PADDING);
    ends.clear();
    uint8_t *to = entropy.data();
    while (true) {
        const auto *ff = static_cast<const uint8_t *>(std::memchr(data, 0xFF, end - data));
        if (!ff || end - ff < 2) return false;
        std::memcpy(to, data, ff - data);
        to += ff - data;
        data = ff + 2;
        const int marker = ff[1];
        if (marker == 0) {
            *to++ = 0xFF;
            continue;
        }
        if (marker != EOI && (restart_interval == 0 || marker != int(RST0 + ends.size() % 8))) return false;
        ends.push_back(to - entropy.data());
        if (marker == EOI) break;
    }
    std::memset(to, 0, PADDING);
    return true;
}

}  // namespace
