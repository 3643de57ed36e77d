// Fully connected layers in bfloat16 with float32 weights, for processors with products of bfloat16 pairs.
//
// A pair is two neighbours along the summed direction in one 32-bit place. One factor is broadcast pair by pair, the
// other stands in panels of 48 places: [pair][48]. Weights are rounded while a panel is made, so that no copy of them
// in bfloat16 goes through memory, and their gradient is never rounded.
#pragma once

#include <algorithm>
#include <vector>

#include "vector.h"

namespace {

// Whether this processor has what the functions below need; they do nothing without it.
#if defined(ALEXNET_AVX512) && defined(__AVX512BF16__)
#define ALEXNET_PAIRS
constexpr bool HAS_PAIRS = true;
#else
constexpr bool HAS_PAIRS = false;
#endif

#ifdef ALEXNET_PAIRS
constexpr int64_t ROWS = 8, PANEL = 3 * LANES;  // the part of a product that is summed in registers
constexpr int64_t LONG = 512, SHORT = 64;       // pairs at a time along the rows of the weights, and across them
constexpr int64_t PANELS = 8;                    // panels made together across the rows of the weights
constexpr int64_t IN_CACHE = 1 << 16;           // pairs that stay in the second-level cache

// Lines of 64 bytes to fetch meanwhile: `count` times `lines` of them, `stride` bytes apart.
struct Ahead {
    const char *from = nullptr;
    int64_t lines = 0, count = 0, stride = 0;
};

// c[row][place] (+)= sum over pairs of a[row * a_row + pair * a_pair] times panel[pair][place].
template <int R, bool STREAM>
inline void tile(const uint32_t *a, int64_t a_row, int64_t a_pair, const uint32_t *panel, int64_t pairs, float *c,
                 int64_t c_row, bool add, Ahead ahead = {}) {
    constexpr int C = PANEL / LANES;
    __m512 sums[R][C];
    for (int r = 0; r < R; r++)
        for (int i = 0; i < C; i++) sums[r][i] = add ? _mm512_loadu_ps(c + r * c_row + i * LANES) : _mm512_setzero_ps();
    int64_t line = 0;
    for (int64_t pair = 0; pair < pairs; pair++, a += a_pair, panel += PANEL) {
        if (ahead.count > 0) {
            _mm_prefetch(ahead.from + line * 64, _MM_HINT_T1);
            if (++line == ahead.lines) line = 0, ahead.count--, ahead.from += ahead.stride;
        }
        __m512bh places[C];
        for (int i = 0; i < C; i++) places[i] = (__m512bh)_mm512_loadu_si512(panel + i * LANES);
        for (int r = 0; r < R; r++) {
            const __m512bh value = (__m512bh)_mm512_set1_epi32(a[r * a_row]);
            for (int i = 0; i < C; i++) sums[r][i] = _mm512_dpbf16_ps(sums[r][i], value, places[i]);
        }
    }
    for (int r = 0; r < R; r++)
        for (int i = 0; i < C; i++) {
            float *to = c + r * c_row + i * LANES;
            STREAM ? _mm512_stream_ps(to, sums[r][i]) : _mm512_storeu_ps(to, sums[r][i]);
        }
}

// `tile` for rows that lie one after the other; `ahead.count` lines are fetched with each ROWS of them.
inline void tiles(const uint32_t *a, int64_t a_row, const uint32_t *panel, int64_t pairs, float *c, int64_t c_row,
                  int64_t rows, bool add, Ahead ahead) {
    int64_t row = 0;
    for (; row + ROWS <= rows; row += ROWS, ahead.from += ahead.count * ahead.stride)
        tile<ROWS, false>(a + row * a_row, a_row, 1, panel, pairs, c + row * c_row, c_row, add, ahead);
    for (; row < rows; row++) tile<1, false>(a + row * a_row, a_row, 1, panel, pairs, c + row * c_row, c_row, add);
}

inline __m512i pairs_of(__m512i first, __m512i second) { return _mm512_or_si512(first, _mm512_slli_epi32(second, 16)); }

inline __m512i narrowed(const float *from, __mmask16 lanes) {
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(lanes, from)));
}

inline __m512i narrowed(const bfloat16 *from, __mmask16 lanes) {
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, from));
}

// Sixteen pairs along two rows of x, the second of which may not be there.
template <class T> inline __m512i pairs_across(const T *x, int64_t width, bool both, __mmask16 lanes) {
    return pairs_of(narrowed(x, lanes), both ? narrowed(x + width, lanes) : _mm512_setzero_si512());
}

// Rows and columns change places.
inline void transpose(__m512i rows[16]) {
    __m512i other[16];
    for (int i = 0; i < 16; i += 2) {
        other[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        other[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            rows[i + 2 * j] = _mm512_unpacklo_epi64(other[i + j], other[i + j + 2]);
            rows[i + 2 * j + 1] = _mm512_unpackhi_epi64(other[i + j], other[i + j + 2]);
        }
    for (int i = 0; i < 4; i++) {
        other[i] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0x88);
        other[i + 4] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0xdd);
        other[i + 8] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0x88);
        other[i + 12] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        rows[i] = _mm512_shuffle_i32x4(other[i], other[i + 8], 0x88);
        rows[i + 8] = _mm512_shuffle_i32x4(other[i], other[i + 8], 0xdd);
        rows[i + 4] = _mm512_shuffle_i32x4(other[i + 4], other[i + 12], 0x88);
        rows[i + 12] = _mm512_shuffle_i32x4(other[i + 4], other[i + 12], 0xdd);
    }
}

// A panel of `rows` (48 at most, then zeros) rows of weights with pairs along them: `values` of each, 2 * LONG at most.
// Every row is read from end to end before it is turned: many rows at once would fall on the same places in the cache.
inline void panel_of_rows(const float *weight, int64_t width, int64_t rows, int64_t values, uint32_t *panel) {
    constexpr int64_t LINE = LONG + LANES;
    alignas(64) uint32_t lines[LANES * LINE];
    for (int64_t first = 0; first < PANEL; first += LANES) {
        for (int64_t r = 0; r < LANES; r++)
            for (int64_t at = 0; at < values; at += 2 * LANES) {
                const float *from = weight + (first + r) * width + at;
                const int64_t there = first + r < rows ? values - at : 0;
                const __m512 low = load(from, Part(there)), high = load(from + LANES, Part(std::max(LANES, there) - LANES));
                _mm512_storeu_si512(lines + r * LINE + at / 2, (__m512i)_mm512_cvtne2ps_pbh(high, low));
            }
        for (int64_t at = 0; at < (values + 1) / 2; at += LANES) {
            __m512i block[16];
            for (int64_t r = 0; r < LANES; r++) block[r] = _mm512_loadu_si512(lines + r * LINE + at);
            transpose(block);
            for (int64_t pair = 0; pair < std::min(LANES, (values + 1) / 2 - at); pair++)
                _mm512_storeu_si512(panel + (at + pair) * PANEL + first, block[pair]);
        }
    }
}

// x[batch][width] with an even width, so that pairs along the rows can be read as they are.
struct Even {
    std::vector<bfloat16> copy;
    const uint32_t *pairs;
    int64_t width;  // in pairs

    Even(const bfloat16 *x, int64_t batch, int64_t values) : pairs((const uint32_t *)x), width((values + 1) / 2) {
        if (values % 2 == 0 && (uintptr_t)x % 4 == 0) return;
        copy.assign(batch * 2 * width, bfloat16{0});
        for (int64_t i = 0; i < batch; i++) std::copy_n(x + i * values, values, copy.data() + i * 2 * width);
        pairs = (const uint32_t *)copy.data();
    }
};

// to[i][place] = from[i][place] (+ bias[place]), rounded.
inline void rounded(const float *from, int64_t from_row, const float *bias, bfloat16 *to, int64_t to_row, int64_t rows,
                    int64_t places) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t at = 0; at < places; at += LANES) {
            const Part there(places - at);
            const __m512 value = load(from + i * from_row + at, there);
            store(to + i * to_row + at, there, bias ? _mm512_add_ps(value, load(bias + at, there)) : value);
        }
}
#endif

// y[batch][out] = x[batch][in] weight[out][in] + bias[out] (or no bias).
inline void full(const bfloat16 *x, const float *weight, const float *bias, bfloat16 *y, int64_t batch, int64_t in,
                 int64_t out, int threads) {
#ifdef ALEXNET_PAIRS
    const Even even(x, batch, in);
    const int64_t panels = (out + PANEL - 1) / PANEL, groups = std::max<int64_t>(1, batch / ROWS);
#pragma omp parallel num_threads(threads)
    {
        std::vector<uint32_t> panel(LONG * PANEL);
        std::vector<float> sums(batch * PANEL);
#pragma omp for schedule(static)
        for (int64_t number = 0; number < panels; number++) {
            const int64_t o = number * PANEL, rows = std::min(PANEL, out - o);
            for (int64_t first = 0; first < even.width; first += LONG) {
                const int64_t count = std::min(LONG, even.width - first), values = std::min(2 * count, in - 2 * first);
                const float *from = weight + o * in + 2 * first;
                panel_of_rows(from, in, rows, values, panel.data());
                Ahead ahead;
                if (first + 2 * LONG <= even.width)
                    ahead = {(const char *)(from + 2 * LONG), LONG / 8, (rows + groups - 1) / groups, in * 4};
                else if (o + 2 * PANEL <= out)
                    ahead = {(const char *)(weight + (o + PANEL) * in), std::min(LONG, even.width) / 8,
                             (PANEL + groups - 1) / groups, in * 4};
                tiles(even.pairs + first, even.width, panel.data(), count, sums.data(), PANEL, batch, first > 0, ahead);
            }
            rounded(sums.data(), PANEL, bias ? bias + o : nullptr, y + o, out, batch, rows);
        }
    }
#endif
}

// dx[batch][in] = g[batch][out] weight[out][in].
inline void full_gradient(const bfloat16 *g, const float *weight, bfloat16 *dx, int64_t batch, int64_t in, int64_t out,
                          int threads) {
#ifdef ALEXNET_PAIRS
    const Even even(g, batch, out);
    const int64_t panels = (in + PANEL - 1) / PANEL, groups = std::max<int64_t>(1, batch / ROWS);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t part = 0; part < threads; part++) {
        std::vector<uint32_t> strip(PANELS * SHORT * PANEL), next(PANELS * SHORT * PANEL);
        std::vector<float> sums(batch * PANELS * PANEL);
        const int64_t end = panels * (part + 1) / threads;
        for (int64_t number = panels * part / threads; number < end; number += PANELS) {
            const int64_t wide = std::min(PANELS, end - number), k = number * PANEL, width = std::min(wide * PANEL, in - k);
            const int64_t share = (SHORT + wide - 1) / wide;  // pairs of the next rows for each panel of these
            const auto make = [&](int64_t first, int64_t from, int64_t to, uint32_t *into) {
                for (int64_t pair = from; pair < std::min(to, even.width - first); pair++)
                    for (int64_t i = 0; i < wide * PANEL; i += LANES) {
                        const int64_t o = 2 * (first + pair);
                        const Part there(std::max<int64_t>(0, width - i));
                        const __m512i both = pairs_across(weight + o * in + k + i, in, o + 1 < out, there);
                        _mm512_storeu_si512(into + (i / PANEL * SHORT + pair) * PANEL + i % PANEL, both);
                    }
            };
            make(0, 0, SHORT, strip.data());
            for (int64_t first = 0; first < even.width; first += SHORT, strip.swap(next))
                for (int64_t i = 0; i < wide; i++) {
                    const int64_t after = first + SHORT, from = i * share, to = std::min(SHORT, from + share);
                    Ahead ahead;
                    if (after + SHORT <= even.width && from < to)
                        ahead = {(const char *)(weight + 2 * (after + from) * in + k), width / 16,
                                 (2 * (to - from) + groups - 1) / groups, in * 4};
                    tiles(even.pairs + first, even.width, strip.data() + i * SHORT * PANEL,
                          std::min(SHORT, even.width - first), sums.data() + i * PANEL, wide * PANEL, batch, first > 0,
                          ahead);
                    make(after, from, to, next.data());
                }
            rounded(sums.data(), wide * PANEL, nullptr, dx + k, in, batch, width);
        }
    }
#endif
}

// dw[out][in] = sum over the batch of g[picture][out] x[picture][in].
inline void full_gradient_of_weight(const bfloat16 *x, const bfloat16 *g, float *dw, int64_t batch, int64_t in,
                                    int64_t out, int threads) {
#ifdef ALEXNET_PAIRS
    const int64_t pairs = (batch + 1) / 2, panels = (in + PANEL - 1) / PANEL, groups = (out + ROWS - 1) / ROWS;
    const int64_t together = std::max<int64_t>(1, IN_CACHE / (pairs * PANEL));  // panels that stay in cache
    std::vector<uint32_t> columns(panels * pairs * PANEL);                     // [panel][pair][PANEL]
    std::vector<uint32_t> rows(groups * pairs * ROWS);                         // [group][pair][ROWS]
    const bool aligned = in % LANES == 0 && (uintptr_t)dw % 64 == 0;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t panel = 0; panel < panels; panel++)
            for (int64_t pair = 0; pair < pairs; pair++)
                for (int64_t i = 0; i < PANEL; i += LANES) {
                    const int64_t k = panel * PANEL + i;
                    const Part there(std::max<int64_t>(0, in - k));
                    const __m512i both = pairs_across(x + 2 * pair * in + k, in, 2 * pair + 1 < batch, there);
                    _mm512_storeu_si512(columns.data() + (panel * pairs + pair) * PANEL + i, both);
                }
#pragma omp for schedule(static)
        for (int64_t group = 0; group < groups; group++)
            for (int64_t pair = 0; pair < pairs; pair++) {
                const Part there(std::min(ROWS, out - group * ROWS));
                const bfloat16 *from = g + 2 * pair * out + group * ROWS;
                const __m512i both = pairs_across(from, out, 2 * pair + 1 < batch, there);
                _mm256_storeu_si256((__m256i *)(rows.data() + (group * pairs + pair) * ROWS),
                                    _mm512_castsi512_si256(both));
            }
        float edge[ROWS * PANEL];
        for (int64_t first = 0; first < panels; first += together)
#pragma omp for schedule(static) nowait
            for (int64_t group = 0; group < groups; group++)
                for (int64_t panel = first; panel < std::min(panels, first + together); panel++) {
                    const int64_t o = group * ROWS, k = panel * PANEL;
                    const int64_t height = std::min(ROWS, out - o), width = std::min(PANEL, in - k);
                    const uint32_t *a = rows.data() + o * pairs, *b = columns.data() + k * pairs;
                    float *to = dw + o * in + k;
                    if (height == ROWS && width == PANEL && aligned) {
                        tile<ROWS, true>(a, 1, ROWS, b, pairs, to, in, false);
                        continue;
                    }
                    tile<ROWS, false>(a, 1, ROWS, b, pairs, edge, PANEL, false);
                    for (int64_t r = 0; r < height; r++) std::copy_n(edge + r * PANEL, width, to + r * in);
                }
        _mm_sfence();
    }
#endif
}

}  // namespace
