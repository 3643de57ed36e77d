// Rows of a store, from the disk to crops: read (pread), compared with their checksum (crc32.h), decoded (crops.h).
//
// The files are not mapped: the system ends a process that touches a mapped file whose disk fails.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <unistd.h>
#include <vector>

#include "crc32.h"
#include "crops.h"

namespace {

// `ROW` in rows.py.
struct Row {
    int64_t position;  // of the encoded image in the file, bytes
    int64_t key;       // position of the key among the keys
    int32_t length;    // of the encoded image, bytes; -1 if it is outside the file
    int32_t label;
    int32_t key_length;
    uint32_t crc32;  // of image, label and key
};
static_assert(sizeof(Row) == 32, "as in rows.py");

// An open shard: a row of the array `shards` in rows.py.
struct Shard {
    int64_t file;  // its descriptor
    const Row *rows;
    const uint8_t *keys;
};
static_assert(sizeof(Shard) == 24, "as in rows.py");

inline bool read_at(int64_t file, int64_t position, int64_t length, uint8_t *to) {
    while (length > 0) {
        const ssize_t got = pread(int(file), to, size_t(length), off_t(position));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        to += got, position += got, length -= got;
    }
    return true;
}

inline uint32_t row_checksum(const Row &row, const uint8_t *image, const uint8_t *keys) {
    const uint8_t *label = reinterpret_cast<const uint8_t *>(&row.label);
    return crc32(crc32(crc32(0, image, row.length), label, sizeof row.label), keys + row.key, row.key_length);
}

// Crops of images that are on the disk.
struct StoredCrops {
    Crops crops;
    int64_t shard_count;
    const Shard *shards;
    const int64_t *ends;     // how many rows each shard and those before it have
    const int64_t *indices;  // for each crop: its row, counted through all shards

    // done[i] becomes 0 for a row that is not there, cannot be read, does not match its checksum, or is refused; and
    // where memory is short.
    void decode(int64_t i) const noexcept {
        try {
            decode_or_throw(i);
        } catch (const std::exception &) {
            crops.done[i] = 0;
        }
    }

   private:
    void decode_or_throw(int64_t i) const {
        thread_local std::vector<uint8_t> buffer;
        const int64_t index = indices[i], number = std::upper_bound(ends, ends + shard_count, index) - ends;
        crops.done[i] = 0;
        if (index < 0 || number == shard_count) return;
        const Shard &shard = shards[number];
        const Row &row = shard.rows[number ? index - ends[number - 1] : index];
        if (row.length < 0 || row.length > MAX_JPEG_BYTES) return;
        if (int64_t(buffer.size()) < row.length) buffer.resize(row.length);
        if (!read_at(shard.file, row.position, row.length, buffer.data())) return;
        if (row_checksum(row, buffer.data(), shard.keys) == row.crc32) crops.decode(i, buffer.data(), row.length);
    }
};

}  // namespace
