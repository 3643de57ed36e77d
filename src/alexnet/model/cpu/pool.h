// Max pooling of one pixel of the output, and of one pixel of the input for the gradient. The place of the maximum
// within its window is kept in one byte.
#pragma once

#include <algorithm>

#include "vector.h"

namespace {

struct Pool {
    int64_t height, width, channels, out_height, out_width, kernel, stride;
};

#ifdef ALEXNET_AVX512
// Thirty-two channels of `pool_window` as whole numbers, whose comparisons cost half as much. False, with nothing
// written, where one of them is not a number.
template <bool PLACES>
inline bool pool_as_integers(const bfloat16 *x, bfloat16 *y, uint8_t *place, const Pool &p, int64_t kernel, int64_t rows,
                             int64_t columns) {
    const __m512i magnitude = _mm512_set1_epi16(0x7fff), infinite = _mm512_set1_epi16(0x7f80);
    __m512i best = _mm512_setzero_si512(), largest = best;
    __m256i where = _mm256_setzero_si256();
    for (int64_t h = 0; h < rows; h++)
        for (int64_t w = 0; w < columns; w++) {
            const __m512i bits = _mm512_loadu_si512(x + (h * p.width + w) * p.channels);
            const __m512i size = _mm512_and_si512(bits, magnitude), sign = _mm512_srai_epi16(bits, 15);
            const __m512i value = _mm512_sub_epi16(_mm512_xor_si512(size, sign), sign);  // -0 is 0
            largest = _mm512_max_epu16(largest, size);
            if (PLACES) {
                const __mmask32 better = h + w == 0 ? 0xffffffff : _mm512_cmpgt_epi16_mask(value, best);
                best = _mm512_mask_mov_epi16(best, better, value);
                where = _mm256_mask_mov_epi8(where, better, _mm256_set1_epi8(char(h * kernel + w)));
            } else {
                best = h + w == 0 ? value : _mm512_max_epi16(best, value);
            }
        }
    if (_mm512_cmpgt_epu16_mask(largest, infinite)) return false;
    const __m512i sign = _mm512_srai_epi16(best, 15), size = _mm512_sub_epi16(_mm512_xor_si512(best, sign), sign);
    _mm512_storeu_si512(y, _mm512_or_si512(size, _mm512_slli_epi16(sign, 15)));
    if (PLACES) _mm256_storeu_si256((__m256i *)place, where);
    return true;
}

template <bool PLACES>
inline bool pool_as_integers(const float *, float *, uint8_t *, const Pool &, int64_t, int64_t, int64_t) {
    return false;
}
#endif

// The first maximum of `rows` x `columns` pixels at x, and its place where PLACES asks for it; NaN wins, as in torch.
template <bool PLACES, class T>
inline __attribute__((always_inline)) void pool_window(
    const T *x, T *y, uint8_t *place, const Pool &p, int64_t kernel, int64_t rows, int64_t columns) {
    int64_t c = 0;
#ifdef ALEXNET_AVX512
    const auto chunk = [&](auto lanes) {
        __m512 best = load(x + c, lanes);
        __m128i where = _mm_setzero_si128();
        for (int64_t h = 0; h < rows; h++)
            for (int64_t w = 0; w < columns; w++) {
                const __m512 value = load(x + (h * p.width + w) * p.channels + c, lanes);
                const __mmask16 better =
                    _mm512_cmp_ps_mask(value, best, _CMP_GT_OQ) | _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
                best = _mm512_mask_mov_ps(best, better, value);
                where = _mm_mask_mov_epi8(where, better, _mm_set1_epi8(char(h * kernel + w)));
            }
        store(y + c, lanes, best);
        if (PLACES) _mm_mask_storeu_epi8(place + c, lanes, where);
    };
    for (; c + LANES <= p.channels; c += LANES) {
        const bool two = sizeof(T) == 2 && c + 2 * LANES <= p.channels;
        if (two && pool_as_integers<PLACES>(x + c, y + c, place + c, p, kernel, rows, columns))
            c += LANES;
        else
            chunk(Whole(LANES));
    }
    if (c < p.channels) chunk(Part(p.channels - c));
    c = p.channels;
#endif
    for (; c < p.channels; c++) {
        float best = widen(x[c]);
        int64_t where = 0;
        for (int64_t h = 0; h < rows; h++)
            for (int64_t w = 0; w < columns; w++) {
                const float value = widen(x[(h * p.width + w) * p.channels + c]);
                if (value > best || value != value) best = value, where = h * kernel + w;
            }
        narrow(best, y[c]);
        if (PLACES) place[c] = uint8_t(where);
    }
}

// One pixel of the output; x is the whole image, y and place the pixel's. Without `place` only the maximum.
template <class T> void pool_pixel(const T *x, T *y, uint8_t *place, const Pool &p, int64_t row, int64_t column) {
    const int64_t top = row * p.stride, left = column * p.stride;
    const int64_t rows = std::min(p.kernel, p.height - top), columns = std::min(p.kernel, p.width - left);
    x += (top * p.width + left) * p.channels;
    if (rows == 3 && columns == 3 && p.kernel == 3) {  // unrolled
        if (place)
            pool_window<true>(x, y, place, p, 3, 3, 3);
        else
            pool_window<false>(x, y, place, p, 3, 3, 3);
    } else if (place) {
        pool_window<true>(x, y, place, p, p.kernel, rows, columns);
    } else {
        pool_window<false>(x, y, place, p, p.kernel, rows, columns);
    }
}

// `pool_pixel_gradient` of `rows` x `columns` windows, known when compiling where ROWS and COLUMNS give them. g and place
// are the first window's, and `here` is the pixel's place in it.
template <int ROWS, int COLUMNS, class T, class D>
inline void window_gradients(const T *g, const uint8_t *place, D *dx, const Pool &p, int64_t rows, int64_t columns,
                             int64_t here) {
    if (ROWS > 0) rows = ROWS, columns = COLUMNS;
    const int64_t channels = p.channels, line = p.out_width * channels, stride = p.stride, kernel = p.kernel;
    int64_t c = 0;
#ifdef ALEXNET_AVX512
    const auto chunk = [&](auto lanes) {
        __m512 total = _mm512_setzero_ps();
        for (int64_t row = 0; row < rows; row++)
            for (int64_t column = 0; column < columns; column++) {
                const int64_t at = row * line + column * channels + c;
                const __m128i mine = _mm_set1_epi8(char(here - (row * kernel + column) * stride));
                const __m128i places = _mm_maskz_loadu_epi8(lanes, place + at);
                const __mmask16 maximal = _mm_mask_cmpeq_epi8_mask(lanes, places, mine);
                total = _mm512_mask_add_ps(total, maximal, total, load(g + at, lanes));
            }
        store(dx + c, lanes, total);
    };
    for (; c + LANES <= channels; c += LANES) chunk(Whole(LANES));
    if (c < channels) chunk(Part(channels - c));
    c = channels;
#endif
    for (; c < channels; c++) {
        float total = 0;
        for (int64_t row = 0; row < rows; row++)
            for (int64_t column = 0; column < columns; column++) {
                const int64_t at = row * line + column * channels + c;
                if (place[at] == here - (row * kernel + column) * stride) total += widen(g[at]);
            }
        narrow(total, dx[c]);
    }
}

// What the pixel (h, w) receives from the windows in which it was the maximum; g and place are the whole image's.
template <class T, class D>
void pool_pixel_gradient(const T *g, const uint8_t *place, D *dx, const Pool &p, int64_t h, int64_t w) {
    const int64_t top = h < p.kernel ? 0 : (h - p.kernel) / p.stride + 1;
    const int64_t left = w < p.kernel ? 0 : (w - p.kernel) / p.stride + 1;
    const int64_t rows = std::min(h / p.stride, p.out_height - 1) - top + 1;
    const int64_t columns = std::min(w / p.stride, p.out_width - 1) - left + 1;
    const int64_t first = (top * p.out_width + left) * p.channels;
    const int64_t here = (h - top * p.stride) * p.kernel + w - left * p.stride;
    const auto make = [&](auto gradients) { gradients(g + first, place + first, dx, p, rows, columns, here); };
    if (rows == 1 && columns == 1) return make(window_gradients<1, 1, T, D>);
    if (rows == 1 && columns == 2) return make(window_gradients<1, 2, T, D>);
    if (rows == 2 && columns == 1) return make(window_gradients<2, 1, T, D>);
    if (rows == 2 && columns == 2) return make(window_gradients<2, 2, T, D>);
    make(window_gradients<0, 0, T, D>);
}

}  // namespace
