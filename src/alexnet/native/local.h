// What a thread of a parallel region needs of its own memory. Where that is short, an exception would end the process,
// since none may leave such a region. So each thread notes the shortage and leaves its part of the work out, and the
// thread that entered the region throws after it.
//
//     Shortage shortage;
//     #pragma omp parallel
//     {
//         Local<std::vector<float>> sums(shortage, count);
//     #pragma omp for
//         for (int64_t i = 0; i < n; i++) {
//             if (!sums) continue;
//             ...
//         }
//     }
//     shortage.check();
#pragma once

#include <atomic>
#include <exception>
#include <new>
#include <optional>
#include <utility>

namespace {

class Shortage {
    std::atomic<bool> happened{false};

   public:
    void note() { happened = true; }

    // Throws std::bad_alloc if some memory was not to be had.
    void check() const {
        if (happened) throw std::bad_alloc();
    }
};

// A T, or nothing.
template <class T> class Local {
    std::optional<T> value;

   public:
    template <class... Arguments> explicit Local(Shortage &shortage, Arguments &&...arguments) noexcept {
        try {
            value.emplace(std::forward<Arguments>(arguments)...);
        } catch (const std::exception &) {
            shortage.note();
        }
    }

    explicit operator bool() const { return value.has_value(); }
    T &operator*() { return *value; }
    T *operator->() { return &*value; }
};

}  // namespace
