// The seam between C++ and Python: a library lists its functions once, and Python reads their types from that list.
//
//     extern "C" const Export *alexnet_exports() {
//         static const Export all[] = {exported("name", function), exported("other", other<float>), {}};
//         return all;
//     }
//
// `library.py` turns each entry into a Python function `name`. Types: pointers, strings (const char *), bool, int,
// int64_t, float, void.
#pragma once

#include <cstdint>
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

template <class Result, class... Arguments> struct TypesOf {
    static constexpr char letters[] = {type_letter<Result>(), type_letter<Arguments>()..., '\0'};
};

template <class Result, class... Arguments> Export exported(const char *name, Result (*function)(Arguments...)) {
    return {name, TypesOf<Result, Arguments...>::letters, (void (*)())function};
}

}  // namespace
