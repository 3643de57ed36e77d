// Fully connected layers with float32 weights, of float32 activations or, where the processor multiplies pairs, bfloat16.
//
// One factor is broadcast place by place, the other stands in panels: [place][48]. In bfloat16 the weights are rounded
// while a panel is made, so that no copy of them goes through memory, and their gradient is never rounded.
#pragma once

#include <algorithm>
#include <vector>

#include "momentum.h"
#include "bf16_pairs.h"

namespace {

#ifdef ALEXNET_AVX512
constexpr int64_t ROWS = 8, PANEL = 3 * LANES;  // the part of a product that is summed in registers
constexpr int64_t LONG = 256, SHORT = 64;       // places at a time along the rows of the weights, and across them
constexpr int64_t PANELS = 8;                    // panels made together across the rows of the weights
constexpr int64_t IN_CACHE = 1 << 16;           // places that stay in the second-level cache

// Lines of 64 bytes to fetch meanwhile: `count` times `lines` of them, `stride` bytes apart, `once` at each place.
struct Ahead {
    const char *from = nullptr;
    int64_t lines = 0, count = 0, stride = 0, once = 1, line = 0;

    void fetch() {
        for (int64_t i = 0; i < once && count > 0; i++) {
            _mm_prefetch(from + line * 64, _MM_HINT_T1);
            if (++line == lines) line = 0, count--, from += stride;
        }
    }
};

// c[row][column] (+)= sum over `count` places of a[row * a_row + place * a_place] times panel[place][column].
template <int R, bool STREAM, class P, class... Aheads>
inline void tile(const P *a, int64_t a_row, int64_t a_place, const P *panel, int64_t count, float *c, int64_t c_row,
                 bool add, Aheads... ahead) {
    constexpr int C = PANEL / LANES;
    __m512 sums[R][C];
    for (int r = 0; r < R; r++)
        for (int i = 0; i < C; i++) sums[r][i] = add ? _mm512_loadu_ps(c + r * c_row + i * LANES) : _mm512_setzero_ps();
    for (int64_t place = 0; place < count; place++, a += a_place, panel += PANEL) {
        (ahead.fetch(), ...);
        __m512i columns[C];
        for (int i = 0; i < C; i++) columns[i] = places(panel + i * LANES);
        for (int r = 0; r < R; r++)
            for (int i = 0; i < C; i++) sums[r][i] = add_product(sums[r][i], a[r * a_row], columns[i]);
    }
    for (int r = 0; r < R; r++)
        for (int i = 0; i < C; i++) {
            float *to = c + r * c_row + i * LANES;
            STREAM ? _mm512_stream_ps(to, sums[r][i]) : _mm512_storeu_ps(to, sums[r][i]);
        }
}

// `tile` for rows that lie one after the other; `ahead.count` times `ahead.lines` are fetched with each ROWS of them.
template <class P>
inline void tiles(const P *a, int64_t a_row, const P *panel, int64_t count, float *c, int64_t c_row, int64_t rows,
                  bool add, Ahead ahead) {
    int64_t row = 0;
    ahead.once = (ahead.lines * ahead.count + count - 1) / count;
    for (; row + ROWS <= rows; row += ROWS, ahead.from += ahead.count * ahead.stride)
        tile<ROWS, false>(a + row * a_row, a_row, 1, panel, count, c + row * c_row, c_row, add, ahead);
    for (; row < rows; row++) tile<1, false>(a + row * a_row, a_row, 1, panel, count, c + row * c_row, c_row, add);
}

// A panel of `rows` (48 at most, then zeros) rows of weights: `values` of each, `LONG` places at most. Every row is read
// from end to end before it is turned: many rows at once would fall on the same places in the cache.
template <class T>
void panel_of_rows(const float *weight, int64_t width, int64_t rows, int64_t values, typename Places<T>::Place *panel) {
    constexpr int64_t LINE = LONG + LANES, PER = Places<T>::PER;
    alignas(64) uint32_t lines[LANES * LINE];
    const int64_t count = (values + PER - 1) / PER;
    for (int64_t first = 0; first < PANEL; first += LANES) {
        for (int64_t r = 0; r < LANES; r++)
            for (int64_t at = 0; at < count; at += LANES) {
                const int64_t there = first + r < rows ? values - at * PER : 0;
                const __m512i sixteen = Places<T>::along(weight + (first + r) * width + at * PER, there);
                _mm512_storeu_si512(lines + r * LINE + at, sixteen);
            }
        for (int64_t at = 0; at < count; at += LANES) {
            __m512i block[16];
            for (int64_t r = 0; r < LANES; r++) block[r] = _mm512_loadu_si512(lines + r * LINE + at);
            transpose(block);
            for (int64_t i = 0; i < std::min(LANES, count - at); i++)
                _mm512_storeu_si512(panel + (at + i) * PANEL + first, block[i]);
        }
    }
}

// x[batch][values] in whole places, so that those along the rows can be read as they are.
template <class T> struct InPlaces {
    using Place = typename Places<T>::Place;
    std::vector<T> copy;
    const Place *places;
    int64_t width;

    InPlaces(const T *x, int64_t batch, int64_t values)
        : places((const Place *)x), width((values + Places<T>::PER - 1) / Places<T>::PER) {
        const int64_t whole = width * Places<T>::PER;
        if (values == whole && (uintptr_t)x % sizeof(Place) == 0) return;
        copy.assign(batch * whole, T{});
        for (int64_t i = 0; i < batch; i++) std::copy_n(x + i * values, values, copy.data() + i * whole);
        places = (const Place *)copy.data();
    }
};

// to[i][column] = from[i][column] (+ bias[column]), rounded.
template <class T>
void rounded(const float *from, int64_t from_row, const float *bias, T *to, int64_t to_row, int64_t rows, int64_t columns) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t at = 0; at < columns; at += LANES) {
            const Part there(columns - at);
            const __m512 value = load(from + i * from_row + at, there);
            store(to + i * to_row + at, there, bias ? _mm512_add_ps(value, load(bias + at, there)) : value);
        }
}

// y[batch][out] = x[batch][in] weight[out][in] + bias[out] (or no bias).
template <class T>
void full(const T *x, const float *weight, const float *bias, T *y, int64_t batch, int64_t in, int64_t out, int threads) {
    constexpr int64_t PER = Places<T>::PER;
    const InPlaces<T> rows(x, batch, in);
    const int64_t panels = (out + PANEL - 1) / PANEL, groups = std::max<int64_t>(1, batch / ROWS);
#pragma omp parallel num_threads(threads)
    {
        Buffer<typename Places<T>::Place> panel(LONG * PANEL);
        Buffer<float> sums(batch * PANEL);
#pragma omp for schedule(static)
        for (int64_t number = 0; number < panels; number++) {
            const int64_t o = number * PANEL, height = std::min(PANEL, out - o);
            for (int64_t first = 0; first < rows.width; first += LONG) {
                const int64_t count = std::min(LONG, rows.width - first), values = std::min(PER * count, in - PER * first);
                const float *from = weight + o * in + PER * first;
                panel_of_rows<T>(from, in, height, values, panel.data());
                Ahead ahead;
                if (first + 2 * LONG <= rows.width)
                    ahead = {(const char *)(from + PER * LONG), PER * LONG / LANES, (height + groups - 1) / groups, in * 4};
                else if (o + 2 * PANEL <= out)
                    ahead = {(const char *)(weight + (o + PANEL) * in), PER * std::min(LONG, rows.width) / LANES,
                             (PANEL + groups - 1) / groups, in * 4};
                tiles(rows.places + first, rows.width, panel.data(), count, sums.data(), PANEL, batch, first > 0, ahead);
            }
            rounded(sums.data(), PANEL, bias ? bias + o : nullptr, y + o, out, batch, height);
        }
    }
}

// dx[batch][in] = g[batch][out] weight[out][in].
template <class T>
void full_gradient(const T *g, const float *weight, T *dx, int64_t batch, int64_t in, int64_t out, int threads) {
    using Place = typename Places<T>::Place;
    constexpr int64_t PER = Places<T>::PER;
    const InPlaces<T> rows(g, batch, out);
    const int64_t panels = (in + PANEL - 1) / PANEL, groups = std::max<int64_t>(1, batch / ROWS);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t part = 0; part < threads; part++) {
        Buffer<Place> strip(PANELS * SHORT * PANEL), next(PANELS * SHORT * PANEL);
        Buffer<float> sums(batch * PANELS * PANEL);
        const int64_t end = panels * (part + 1) / threads;
        for (int64_t number = panels * part / threads; number < end; number += PANELS) {
            const int64_t wide = std::min(PANELS, end - number), k = number * PANEL, width = std::min(wide * PANEL, in - k);
            const int64_t share = (SHORT + wide - 1) / wide;  // places of the next rows for each panel of these
            const auto make = [&](int64_t first, int64_t from, int64_t to, Place *into) {
                for (int64_t place = from; place < std::min(to, rows.width - first); place++)
                    for (int64_t i = 0; i < wide * PANEL; i += LANES) {
                        const int64_t o = PER * (first + place);
                        const Part there(std::max<int64_t>(0, width - i));
                        const __m512i sixteen = Places<T>::across(weight + o * in + k + i, in, out - o, there);
                        _mm512_storeu_si512(into + (i / PANEL * SHORT + place) * PANEL + i % PANEL, sixteen);
                    }
            };
            make(0, 0, SHORT, strip.data());
            for (int64_t first = 0; first < rows.width; first += SHORT, strip.swap(next))
                for (int64_t i = 0; i < wide; i++) {
                    const int64_t after = first + SHORT, from = i * share, to = std::min(SHORT, from + share);
                    Ahead ahead;
                    if (after + SHORT <= rows.width && from < to)
                        ahead = {(const char *)(weight + PER * (after + from) * in + k), width / LANES,
                                 (PER * (to - from) + groups - 1) / groups, in * 4};
                    tiles(rows.places + first, rows.width, strip.data() + i * SHORT * PANEL,
                          std::min(SHORT, rows.width - first), sums.data() + i * PANEL, wide * PANEL, batch, first > 0,
                          ahead);
                    make(after, from, to, next.data());
                }
            rounded(sums.data(), wide * PANEL, nullptr, dx + k, in, batch, width);
        }
    }
}

// The gradient of the weights, dw[out][in] = sum over the batch of g[image][out] x[image][in], in parts of ROWS x
// PANEL: `make(a, b, count, o, k)` makes the one at row o and column k, the sum over `count` places of a[place][ROWS]
// and b[place][PANEL].
template <class T, class Make>
void gradient_of_weight(const T *x, const T *g, int64_t batch, int64_t in, int64_t out, int threads, const Make &make) {
    using Place = typename Places<T>::Place;
    constexpr int64_t PER = Places<T>::PER;
    const int64_t count = (batch + PER - 1) / PER, panels = (in + PANEL - 1) / PANEL, groups = (out + ROWS - 1) / ROWS;
    const int64_t together = std::max<int64_t>(1, IN_CACHE / (count * PANEL));  // panels that stay in cache
    Buffer<Place> columns(panels * count * PANEL);                        // [panel][place][PANEL]
    Buffer<Place> rows(groups * count * ROWS);                            // [group][place][ROWS]
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t panel = 0; panel < panels; panel++)
            for (int64_t place = 0; place < count; place++)
                for (int64_t i = 0; i < PANEL; i += LANES) {
                    const int64_t k = panel * PANEL + i, image = PER * place;
                    const Part there(std::max<int64_t>(0, in - k));
                    const __m512i sixteen = Places<T>::across(x + image * in + k, in, batch - image, there);
                    _mm512_storeu_si512(columns.data() + (panel * count + place) * PANEL + i, sixteen);
                }
#pragma omp for schedule(static)
        for (int64_t group = 0; group < groups; group++)
            for (int64_t place = 0; place < count; place++) {
                const Part there(std::min(ROWS, out - group * ROWS));
                const T *from = g + PER * place * out + group * ROWS;
                const __m512i eight = Places<T>::across(from, out, batch - PER * place, there);
                _mm256_storeu_si256((__m256i *)(rows.data() + (group * count + place) * ROWS),
                                    _mm512_castsi512_si256(eight));
            }
        for (int64_t first = 0; first < panels; first += together)
#pragma omp for schedule(static) nowait
            for (int64_t group = 0; group < groups; group++)
                for (int64_t panel = first; panel < std::min(panels, first + together); panel++)
                    make(rows.data() + group * ROWS * count, columns.data() + panel * PANEL * count, count, group * ROWS,
                         panel * PANEL);
        _mm_sfence();
    }
}

template <class T>
void full_gradient_of_weight(const T *x, const T *g, float *dw, int64_t batch, int64_t in, int64_t out, int threads) {
    using Place = typename Places<T>::Place;
    const bool aligned = in % LANES == 0 && (uintptr_t)dw % 64 == 0;
    const auto make = [=](const Place *a, const Place *b, int64_t count, int64_t o, int64_t k) {
        const int64_t height = std::min(ROWS, out - o), width = std::min(PANEL, in - k);
        float *to = dw + o * in + k, edge[ROWS * PANEL];
        if (height == ROWS && width == PANEL && aligned) {
            tile<ROWS, true>(a, 1, ROWS, b, count, to, in, false);
            return;
        }
        tile<ROWS, false>(a, 1, ROWS, b, count, edge, PANEL, false);
        for (int64_t r = 0; r < height; r++) std::copy_n(edge + r * PANEL, width, to + r * in);
    };
    gradient_of_weight(x, g, batch, in, out, threads, make);
}

// The update of the weights w, and of their velocity v, with that gradient, which does not go through memory.
template <class T>
void full_update(const T *x, const T *g, float *w, float *v, int64_t batch, int64_t in, int64_t out, const Momentum &m,
                 int threads) {
    using Place = typename Places<T>::Place;
    const auto make = [=](const Place *a, const Place *b, int64_t count, int64_t o, int64_t k) {
        constexpr int64_t LINES = PANEL / LANES;
        const int64_t height = std::min(ROWS, out - o), width = std::min(PANEL, in - k), at = o * in + k;
        const auto next = [=](const float *from) {
            return Ahead{(const char *)(from + at + PANEL), LINES, height, in * 4, (ROWS * LINES + count - 1) / count};
        };
        alignas(64) float gradient[ROWS * PANEL];
        tile<ROWS, false>(a, 1, ROWS, b, count, gradient, PANEL, false, next(w), next(v));
        for (int64_t r = 0; r < height; r++) m.update(w + at + r * in, v + at + r * in, gradient + r * PANEL, width);
    };
    gradient_of_weight(x, g, batch, in, out, threads, make);
}
#endif

}  // namespace
