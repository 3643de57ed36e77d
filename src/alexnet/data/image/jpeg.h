// Baseline JPEG decoding of a crop, to the same pixels as libjpeg-turbo with its default settings ("islow" inverse DCT,
// "fancy" upsampling).
//
//     segments.h: marker segments -> huffman.h: coefficients -> idct.h: samples -> colour.h: upsampling and RGB
//
// All Huffman codes are decoded, since nothing tells where a row's codes begin; so damage anywhere is noticed. The
// inverse DCT is done for the MCU rows that the crop needs, colour conversion for the crop alone. An image is refused
// if segments.h does not accept it, if it is damaged, or if its coefficients are larger than those of any real image.
//
// An MCU (minimum coded unit) is one block of each component in 4:4:4, and 2x2 blocks of Y and one of Cb and Cr in
// 4:2:0. Memory layouts: coefficients of an MCU row int16 [block row][group][64][16], where a group is sixteen blocks
// side by side, one per vector lane; samples uint8 [height][stride] for each component.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "colour.h"
#include "huffman.h"
#include "idct.h"
#include "segments.h"

namespace {

// The entropy decoder between two MCUs.
struct ScanState {
    BitReader bits;
    int predictions[3];       // DC of the block before, by component
    int64_t mcus_to_restart;  // up to the next restart marker, if the scan has any
    size_t interval;          // index of the restart interval
};

// The decoder of one thread. It keeps its memory and Huffman tables from one image to the next.
class Jpeg {
   public:
    // Parses the file `data`. Returns false unless it is an image of this size that is accepted.
    bool parse(const uint8_t *data, int64_t bytes, int64_t height, int64_t width) {
        return segments.parse(data, bytes, height, width);
    }

    // Decodes the image's scan, and the samples that are needed for the rows from `first` to `last` (exclusive).
    bool decode_rows(int64_t first, int64_t last);

    // Writes the crop at (top, left) as RGB, uint8 [rows][columns][3]. Its rows must be decoded; `columns` >= LANES.
    void write_crop(int64_t top, int64_t left, int64_t rows, int64_t columns, bool mirrored, uint8_t *out);

   private:
    Segments segments;
    int64_t mcu_rows, mcu_columns;
    int64_t groups[3], strides[3];      // of a row of blocks, and of a row of samples, by component
    std::vector<int16_t> coefficients;  // of one MCU row
    int16_t *component_start[3];        // in `coefficients`
    std::vector<Block> blocks;          // of one MCU row, in scan order
    std::vector<uint8_t> planes[3];     // samples
    std::vector<uint8_t> upsampled[2];  // one row of Cb and of Cr
    std::vector<uint16_t> sums;         // scratch memory of the upsampling
    Ints magnitudes;                    // see idct()

    int64_t sampling(int component) const { return component == 0 ? segments.sampling : 1; }
    int64_t blocks_per_mcu() const { return segments.sampling * segments.sampling + 2; }
    void allocate();
    void order_blocks();
    bool decode_mcu_row(ScanState &scan);
    bool restart(ScanState &scan) const;
    void predict_dc(ScanState &scan, const Block *first, const Block *end) const;
    void transform_mcu_row(int64_t mcu_row);
    const uint8_t *full_row(int component, int64_t y);
};

inline void Jpeg::allocate() {
    const int64_t mcu_side = 8 * segments.sampling;
    mcu_rows = (segments.height + mcu_side - 1) / mcu_side, mcu_columns = (segments.width + mcu_side - 1) / mcu_side;
    int64_t start[3], count = 0;
    for (int component = 0; component < 3; component++) {
        groups[component] = (sampling(component) * mcu_columns + LANES - 1) / LANES;
        strides[component] = groups[component] * LANES * 8;
        planes[component].resize(mcu_rows * sampling(component) * 8 * strides[component]);
        start[component] = count;
        count += sampling(component) * groups[component] * GROUP;
    }
    coefficients.resize(count);
    for (int component = 0; component < 3; component++)
        component_start[component] = coefficients.data() + start[component];
}

// Lists the blocks of an MCU row in scan order: by MCU, then by component, then by row.
inline void Jpeg::order_blocks() {
    blocks.clear();
    for (int64_t mcu = 0; mcu < mcu_columns; mcu++)
        for (int component = 0; component < 3; component++) {
            const Component &tables = segments.components[component];
            const int64_t side = sampling(component);
            for (int64_t y = 0; y < side; y++)
                for (int64_t x = side * mcu; x < side * (mcu + 1); x++) {
                    int16_t *group = component_start[component] + (y * groups[component] + x / LANES) * GROUP;
                    blocks.push_back({&segments.dc[tables.dc], &segments.ac[tables.ac], group + x % LANES});
                }
        }
}

__attribute__((noinline)) bool Jpeg::decode_rows(int64_t first, int64_t last) {
    allocate();
    order_blocks();
    magnitudes = Ints{};
    ScanState scan{BitReader(segments.entropy.data()), {}, segments.restart_interval, 0};
    const int64_t mcu_side = 8 * segments.sampling, margin = 2;  // rows around the crop that upsampling looks at
    for (int64_t row = 0; row < mcu_rows; row++) {
        if (!decode_mcu_row(scan)) return false;
        const bool is_needed = mcu_side * (row + 1) + margin > first && mcu_side * row - margin < last;
        if (is_needed) transform_mcu_row(row);
    }
    if (overflows(magnitudes)) return false;
    return scan.bits.bytes_read() == segments.ends[scan.interval] && scan.interval + 1 == segments.ends.size();
}

// Decodes the coefficients of the next MCU row.
inline bool Jpeg::decode_mcu_row(ScanState &scan) {
    const uint8_t *limit = segments.entropy.data() + segments.ends.back() + 8;
    std::fill(coefficients.begin(), coefficients.end(), 0);
    for (int64_t mcu = 0; mcu < mcu_columns;) {
        int64_t count = mcu_columns - mcu;  // MCUs up to the end of the row, or of the restart interval
        if (segments.restart_interval) {
            if (scan.mcus_to_restart == 0 && !restart(scan)) return false;
            count = std::min(count, scan.mcus_to_restart);
        }
        const Block *first = &blocks[mcu * blocks_per_mcu()], *end = first + count * blocks_per_mcu();
        if (!decode_blocks(scan.bits, limit, first, end)) return false;
        predict_dc(scan, first, end);
        mcu += count, scan.mcus_to_restart -= count;
    }
    return true;
}

// Begins the next restart interval. False if this one has not been read to its end, or is the last.
inline bool Jpeg::restart(ScanState &scan) const {
    const int64_t end = segments.ends[scan.interval];
    if (scan.bits.bytes_read() != end || scan.interval + 1 == segments.ends.size()) return false;
    scan = {BitReader(segments.entropy.data(), end), {}, segments.restart_interval, scan.interval + 1};
    return true;
}

// DC prediction: each DC coefficient is coded as its difference from the block before, of the same component.
inline void Jpeg::predict_dc(ScanState &scan, const Block *first, const Block *end) const {
    const int64_t per_mcu = blocks_per_mcu();
    for (const Block *mcu = first; mcu != end; mcu += per_mcu)
        for (int64_t i = 0; i < per_mcu; i++) {
            int &prediction = scan.predictions[std::max<int64_t>(0, i + 3 - per_mcu)];
            *mcu[i].coefficients = int16_t(prediction += *mcu[i].coefficients);
        }
}

inline void Jpeg::transform_mcu_row(int64_t mcu_row) {
    for (int component = 0; component < 3; component++) {
        const uint16_t *quantisation = segments.quantisation[segments.components[component].quantisation];
        const int16_t *group = component_start[component];
        const int64_t stride = strides[component], rows = sampling(component);
        uint8_t *samples = planes[component].data() + 8 * rows * mcu_row * stride;
        for (int64_t row = 0; row < rows; row++, samples += 8 * stride)
            for (int64_t i = 0; i < groups[component]; i++, group += GROUP)
                idct(group, quantisation, samples + i * LANES * 8, stride, magnitudes);
    }
}

// Row y of a component at full resolution.
inline const uint8_t *Jpeg::full_row(int component, int64_t y) {
    const uint8_t *plane = planes[component].data();
    const int64_t stride = strides[component];
    if (sampling(component) == segments.sampling) return plane + y * stride;
    const int64_t rows = (segments.height + 1) / 2, columns = (segments.width + 1) / 2, near = y / 2;
    const int64_t far = y % 2 ? std::min(near + 1, rows - 1) : std::max<int64_t>(near - 1, 0);
    uint8_t *out = upsampled[component - 1].data();
    upsample_h2v2(plane + near * stride, plane + far * stride, columns, sums.data(), out);
    return out;
}

inline void Jpeg::write_crop(int64_t top, int64_t left, int64_t rows, int64_t columns, bool mirrored, uint8_t *out) {
    sums.resize(segments.width + 4);
    for (auto &row : upsampled) row.resize(segments.width + 2 + LANES);
    for (int64_t y = top; y < top + rows; y++, out += 3 * columns)
        ycc_to_rgb(full_row(0, y) + left, full_row(1, y) + left, full_row(2, y) + left, columns, mirrored, out);
}

}  // namespace
