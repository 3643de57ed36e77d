// Calls kernels for another process, which may run on another processor (see kernel_server.py, which talks to it
// through standard input and output). Compiled together with kernels.cpp.
//
// First it writes a line "name types" for each kernel, and an empty line. Then for each call it reads
//
//     int64 index of the kernel; for each argument one 64-bit word, for a pointer the bytes at it, or -1 for null;
//     then the contents of all pointers
//
// and writes back the contents of all pointers. Both sides are little-endian.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include <exports.h>  // the one beside this file

extern "C" const Export *alexnet_exports();

namespace {

constexpr std::align_val_t ALIGNMENT{64};  // as PyTorch aligns its tensors

// Exactly as many bytes as the caller's tensor, so that a sanitizer sees accesses beyond it.
struct Content {
    int64_t size;
    void *bytes;
};

void read_all(void *to, size_t size) {
    if (std::fread(to, 1, size, stdin) != size) std::exit(std::feof(stdin) ? 0 : 1);
}

void serve(const Export &kernel) {
    const size_t count = std::strlen(kernel.types) - 1;  // without the result
    std::vector<uint64_t> words(count);
    read_all(words.data(), 8 * count);
    std::vector<Content> contents;
    for (size_t i = 0; i < count; i++) {
        const int64_t size = int64_t(words[i]);
        if (kernel.types[1 + i] != 'p') continue;
        words[i] = 0;
        if (size < 0) continue;
        contents.push_back({size, ::operator new(size, ALIGNMENT)});
        words[i] = uint64_t(contents.back().bytes);
    }
    for (const Content &each : contents) read_all(each.bytes, each.size);
    kernel.call(kernel.function, words.data());
    for (const Content &each : contents) {
        std::fwrite(each.bytes, 1, each.size, stdout);
        ::operator delete(each.bytes, ALIGNMENT);
    }
    std::fflush(stdout);
}

}  // namespace

int main() {
    const Export *kernels = alexnet_exports();
    for (const Export *each = kernels; each->name; each++) std::printf("%s %s\n", each->name, each->types);
    std::printf("\n");
    std::fflush(stdout);
    for (int64_t index;;) {
        read_all(&index, sizeof index);
        serve(kernels[index]);
    }
}
