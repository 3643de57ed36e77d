// Stands in for native/exports.h in the kernel server: an export also has a function that calls it with its arguments
// as an array, one 64-bit word each, and drops the result.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#define Export PlainExport
#define exported plain_exported
#include_next <exports.h>
#undef Export
#undef exported

namespace {

struct Export : PlainExport {
    void (*call)(void (*function)(), const uint64_t *words);
};

template <class T> T argument(uint64_t word) {
    T value;
    std::memcpy(&value, &word, sizeof value);  // the first bytes: little-endian
    return value;
}

template <class Result, class... Arguments, size_t... I>
void call(Result (*function)(Arguments...), const uint64_t *words, std::index_sequence<I...>) {
    function(argument<Arguments>(words[I])...);
}

template <class Result, class... Arguments>
void call_any(Result (*function)(Arguments...), const uint64_t *words) {
    call(function, words, std::index_sequence_for<Arguments...>());
}

template <auto function> Export exported(const char *name) {
    const auto call_it = [](void (*any)(), const uint64_t *words) { call_any((decltype(function))any, words); };
    return {plain_exported<function>(name), call_it};
}

}  // namespace
