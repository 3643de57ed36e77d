// The JPEG decoder under sanitizers: a fuzz target of libFuzzer, or, compiled with WITH_MAIN, a program that reads the
// files that it is given. Each is parsed as an image of the size that its frame header claims; a crop is decoded into
// memory of just its size. The bytes of the file decide which crop.

#include <cstdint>
#include <cstdio>
#include <vector>

#include "jpeg.h"

namespace {

constexpr int64_t MOST_PIXELS = 1 << 14;  // larger images show nothing that smaller ones do not

// Height and width in the first SOF0 segment; 0 without one.
struct Size {
    int64_t height = 0, width = 0;

    Size(const uint8_t *data, size_t bytes) {
        for (size_t i = 0; i + 9 <= bytes; i++)
            if (data[i] == 0xFF && data[i + 1] == SOF0) {
                height = big_endian(data + i + 5), width = big_endian(data + i + 7);
                return;
            }
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    const Size size(data, bytes);
    if (size.width < LANES || size.height < 1 || size.height * size.width > MOST_PIXELS) return 0;
    thread_local Jpeg jpeg;  // keeps its memory from one file to the next, as in a thread of the loader
    if (!jpeg.parse(data, int64_t(bytes), size.height, size.width)) return 0;
    const int64_t dice = data[bytes / 2] << 8 | data[bytes / 3];
    const int64_t rows = 1 + dice % size.height, columns = LANES + dice / 7 % (size.width - LANES + 1);
    const int64_t top = dice / 3 % (size.height - rows + 1), left = dice / 5 % (size.width - columns + 1);
    if (!jpeg.decode_rows(top, top + rows)) return 0;
    std::vector<uint8_t> out(rows * columns * 3);
    jpeg.write_crop(top, left, rows, columns, dice % 2, out.data());
    return 0;
}

#ifdef WITH_MAIN
int main(int count, char **files) {
    for (int i = 1; i < count; i++) {
        std::FILE *file = std::fopen(files[i], "rb");
        if (!file) return std::perror(files[i]), 2;
        std::fseek(file, 0, SEEK_END);
        std::vector<uint8_t> data(std::ftell(file));
        std::rewind(file);
        const bool whole = std::fread(data.data(), 1, data.size(), file) == data.size();
        std::fclose(file);
        if (!whole) return 2;
        LLVMFuzzerTestOneInput(data.data(), data.size());
    }
    std::printf("%d files\n", count - 1);
}
#endif
