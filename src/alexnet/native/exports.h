// The seam between C++ and Python: a library lists its functions once, and Python reads their types from that list.
//
//     extern "C" const Export *alexnet_exports() {
//         static const Export all[] = {exported<function>("name"), exported<other<float>>("other"), {}};
//         return all;
//     }
//
// `library.py` turns each entry into a Python function `name`. Types: pointers, strings (const char *), bool, int,
// int64_t, float, void.
//
// No exception leaves a library: errno is 0 after a call, or says why it failed, and `library.py` raises MemoryError or
// OSError. (Within a parallel region see local.h.)
#pragma once

#include <cerrno>
#include <cstdint>
#include <new>
#include <stdexcept>
#include <system_error>
#include <type_traits>

namespace {

struct Export {
    const char *name;
    const char *types;  // a letter each: the result's, and then the arguments'
    void (*function)();
};

// The letters are read by `library.py`.
template <class T> constexpr char type_letter() {
    if constexpr (std::is_same_v<T, const char *>)
        return 's';
    else if constexpr (std::is_pointer_v<T>)
        return 'p';
    if constexpr (std::is_void_v<T>) return 'v';
    if constexpr (std::is_same_v<T, bool>) return 'b';
    if constexpr (std::is_same_v<T, int>) return 'i';
    if constexpr (std::is_same_v<T, int64_t>) return 'l';
    if constexpr (std::is_same_v<T, float>) return 'f';
}

// A function that no exception leaves.
template <auto function> struct Guarded;
template <class Result, class... Arguments, Result (*function)(Arguments...)> struct Guarded<function> {
    static constexpr char types[] = {type_letter<Result>(), type_letter<Arguments>()..., '\0'};

    static Result call(Arguments... arguments) noexcept {
        try {
            if constexpr (std::is_void_v<Result>) {
                function(arguments...);
                errno = 0;
                return;
            } else {
                const Result result = function(arguments...);
                errno = 0;
                return result;
            }
        } catch (const std::bad_alloc &) {
            errno = ENOMEM;
        } catch (const std::length_error &) {  // of a vector longer than any
            errno = ENOMEM;
        } catch (const std::system_error &error) {  // of a thread
            errno = error.code().value() ? error.code().value() : EAGAIN;
        } catch (...) {
            errno = ENOTRECOVERABLE;
        }
        return Result();
    }
};

template <auto function> Export exported(const char *name) {
    return {name, Guarded<function>::types, (void (*)())Guarded<function>::call};
}

}  // namespace
