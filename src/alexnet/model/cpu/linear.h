// Fully connected layers as blocked matrix multiplications, with float32 weights w[out][in]:
//
//   linear                  y[batch][out] = x w' + bias   x[batch][in]; bf16 only
//   linear_gradient_input   dx[batch][in] = g w           g[batch][out], the gradient of y
//   linear_gradient_weight  dw[out][in] = g' x            float32, never rounded
//   linear_update           w and its velocity by the update rule, with that dw, which does not go through memory
//
// One operand is broadcast, the other packed into panels [k][PANEL] that stay in cache; ROWS x PANEL sums stay in
// registers. In bf16 the weights are rounded while they are packed: no rounded copy of them goes through memory.
#pragma once

#include <algorithm>
#include <vector>

#include "local.h"
#include "momentum.h"
#include "operands.h"

namespace {

// A tile: ROWS * VECTORS sums leave registers for the operands.
constexpr int VECTORS = 3;
constexpr int ROWS = REGISTERS == 32 ? 8 : 4;
constexpr int64_t PANEL = VECTORS * WIDTH;
// Elements along k in a panel of `linear` (along the rows of w) and of `linear_gradient_input` (across them). The
// latter packs panels side by side, STRIP_PANELS at a time, to read long pieces of the rows of w.
constexpr int64_t ALONG = 256, ACROSS = 64;
constexpr int64_t STRIP_PANELS = 384 / PANEL;
constexpr int64_t IN_CACHE = 1 << 16;  // elements that stay in the second-level cache
constexpr int64_t LINE = 16;           // floats in a cache line

// Cache lines to fetch into the second-level cache while a tile is computed: `lines` of them from each of `rows` rows
// that are `stride` floats apart, `per_k` at each k.
struct Prefetch {
    const float *from = nullptr;
    int64_t lines = 0, rows = 0, stride = 0, per_k = 1, line = 0;

    void fetch() {
        for (int64_t i = 0; i < per_k && rows > 0; i++) {
            __builtin_prefetch(from + line * LINE, 0, 2);
            if (++line == lines) line = 0, rows--, from += stride;
        }
    }
};

// c[row][column] (+)= sum over k < depth of a[row * a_row + k * a_k] * panel[k][column], for R rows and PANEL columns.
template <int R, bool STREAM, class Element, class... Prefetches>
inline void tile(const Element *a, int64_t a_row, int64_t a_k, const Element *panel, int64_t depth, float *c,
                 int64_t c_row, bool add, Prefetches... prefetch) {
    Floats sums[R][VECTORS];
    for (int r = 0; r < R; r++)
        for (int i = 0; i < VECTORS; i++) sums[r][i] = add ? load(c + r * c_row + i * WIDTH) : Floats{};
    for (int64_t k = 0; k < depth; k++, a += a_k, panel += PANEL) {
        (prefetch.fetch(), ...);
        decltype(load_elements(panel)) columns[VECTORS];
        for (int i = 0; i < VECTORS; i++) columns[i] = load_elements(panel + i * WIDTH);
        for (int r = 0; r < R; r++)
            for (int i = 0; i < VECTORS; i++) sums[r][i] = multiply_add(sums[r][i], a[r * a_row], columns[i]);
    }
    for (int r = 0; r < R; r++)
        for (int i = 0; i < VECTORS; i++) {
            float *to = c + r * c_row + i * WIDTH;
            STREAM ? stream_vector(to, sums[r][i]) : store(to, sums[r][i]);
        }
}

// c[rows][PANEL] (+)= a[rows][depth] panel[depth][PANEL], tile by tile. Each tile fetches the next `prefetch.rows`
// rows.
template <class Element>
inline void column_of_tiles(const Element *a, int64_t a_row, const Element *panel, int64_t depth, float *c,
                            int64_t c_row, int64_t rows, bool add, Prefetch prefetch) {
    int64_t row = 0;
    prefetch.per_k = (prefetch.lines * prefetch.rows + depth - 1) / depth;
    for (; row + ROWS <= rows; row += ROWS, prefetch.from += prefetch.rows * prefetch.stride)
        tile<ROWS, false>(a + row * a_row, a_row, 1, panel, depth, c + row * c_row, c_row, add, prefetch);
    for (; row < rows; row++) tile<1, false>(a + row * a_row, a_row, 1, panel, depth, c + row * c_row, c_row, add);
}

// x[batch][values] as elements along its rows: itself where every row consists of whole elements, else a padded copy.
template <class T> struct ElementRows {
    using Element = typename Packed<T>::Element;
    std::vector<T> copy;
    const Element *elements;
    int64_t width;  // elements in a row

    ElementRows(const T *x, int64_t batch, int64_t values)
        : elements((const Element *)x), width((values + Packed<T>::DEPTH - 1) / Packed<T>::DEPTH) {
        const int64_t padded = width * Packed<T>::DEPTH;
        if (values == padded && (uintptr_t)x % sizeof(Element) == 0) return;
        copy.assign(batch * padded, T{});
        for (int64_t i = 0; i < batch; i++) std::copy_n(x + i * values, values, copy.data() + i * padded);
        elements = (const Element *)copy.data();
    }
};

// to[row][column] = from[row][column], rounded to the type of `to`.
inline void round_rows(const float *from, int64_t from_row, float *to, int64_t to_row, int64_t rows, int64_t columns) {
    for (int64_t row = 0; row < rows; row++) std::copy_n(from + row * from_row, columns, to + row * to_row);
}

#ifdef ALEXNET_PAIRS
inline void round_rows(const float *from, int64_t from_row, bfloat16 *to, int64_t to_row, int64_t rows,
                       int64_t columns) {
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = 0; i < columns; i += WIDTH)
            store(to + row * to_row + i, Part(columns - i), load(from + row * from_row + i, Part(columns - i)));
}

// The panel of `rows` (at most PANEL, then zeros) rows of weights: `values` of each, at most ALONG pairs. Each row is
// read from end to end before 16x16 pairs at a time are transposed: many rows at once would share lines of the cache.
inline void pack_rows(const float *weight, int64_t in, int64_t rows, int64_t values, uint32_t *panel) {
    constexpr int64_t BUFFER_ROW = ALONG + WIDTH;
    alignas(64) uint32_t buffer[WIDTH * BUFFER_ROW];
    const int64_t pairs = (values + 1) / 2;
    for (int64_t first = 0; first < PANEL; first += WIDTH) {
        for (int64_t r = 0; r < WIDTH; r++)
            for (int64_t k = 0; k < pairs; k += WIDTH) {
                const float *from = weight + (first + r) * in + 2 * k;
                const int64_t there = first + r < rows ? values - 2 * k : 0;
                const __m512 low = load(from, Part(std::max<int64_t>(0, there)));
                const __m512 high = load(from + WIDTH, Part(std::max<int64_t>(0, there - WIDTH)));
                _mm512_storeu_si512(buffer + r * BUFFER_ROW + k, (__m512i)_mm512_cvtne2ps_pbh(high, low));
            }
        for (int64_t k = 0; k < pairs; k += WIDTH) {
            __m512i block[WIDTH];
            for (int64_t r = 0; r < WIDTH; r++) block[r] = _mm512_loadu_si512(buffer + r * BUFFER_ROW + k);
            transpose(block);
            for (int64_t i = 0; i < std::min<int64_t>(WIDTH, pairs - k); i++)
                _mm512_storeu_si512(panel + (k + i) * PANEL + first, block[i]);
        }
    }
}

inline void add_bias(const float *bias, float *sums, int64_t rows, int64_t columns) {
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = 0; i < columns; i++) sums[row * PANEL + i] += bias[i];
}

// y[batch][out] = x[batch][in] w[out][in]' + bias[out] (or no bias).
inline void linear(const bfloat16 *x, const float *w, const float *bias, bfloat16 *y, int64_t batch, int64_t in,
                   int64_t out, int threads) {
    const ElementRows<bfloat16> rows(x, batch, in);
    const int64_t panels = (out + PANEL - 1) / PANEL, tiles = std::max<int64_t>(1, batch / ROWS);
    Shortage shortage;
#pragma omp parallel num_threads(threads)
    {
        Local<Buffer<uint32_t>> panel(shortage, ALONG * PANEL);
        Local<Buffer<float>> own_sums(shortage, batch * PANEL);
#pragma omp for schedule(static)
        for (int64_t number = 0; number < panels; number++) {
            if (!panel || !own_sums) continue;
            Buffer<float> &sums = *own_sums;
            const int64_t o = number * PANEL, height = std::min(PANEL, out - o);
            for (int64_t first = 0; first < rows.width; first += ALONG) {
                const int64_t depth = std::min(ALONG, rows.width - first);
                const float *from = w + o * in + 2 * first;
                pack_rows(from, in, height, std::min(2 * depth, in - 2 * first), panel->data());
                Prefetch next;
                if (first + 2 * ALONG <= rows.width)
                    next = {from + 2 * ALONG, 2 * ALONG / LINE, (height + tiles - 1) / tiles, in};
                else if (o + 2 * PANEL <= out)
                    next = {w + (o + PANEL) * in, 2 * std::min(ALONG, rows.width) / LINE, (PANEL + tiles - 1) / tiles,
                            in};
                column_of_tiles(rows.elements + first, rows.width, panel->data(), depth, sums.data(), PANEL, batch,
                                first > 0, next);
            }
            if (bias) add_bias(bias + o, sums.data(), batch, height);
            round_rows(sums.data(), PANEL, y + o, out, batch, height);
        }
    }
    shortage.check();
}
#endif

// Packs rows `first` to `last` of w (in elements along k) under the columns of a strip: [panel][k - first][PANEL].
template <class T>
void pack_strip(const float *w, int64_t in, int64_t out, int64_t columns, int64_t first, int64_t last,
                typename Packed<T>::Element *strip) {
    for (int64_t k = first; k < last; k++) {
        const float *from = w + Packed<T>::DEPTH * k * in;
        const float *next = Packed<T>::DEPTH * k + 1 < out ? from + in : nullptr;
        for (int64_t i = 0; i < columns; i += PANEL)
            Packed<T>::pack(from + i, next ? next + i : nullptr, columns - i,
                            strip + (i / PANEL * ACROSS + k % ACROSS) * PANEL, PANEL);
    }
}

// dx[batch][in] = g[batch][out] w[out][in].
template <class T>
void linear_gradient_input(const T *g, const float *w, T *dx, int64_t batch, int64_t in, int64_t out, int threads) {
    using Element = typename Packed<T>::Element;
    const ElementRows<T> rows(g, batch, out);
    const int64_t panels = (in + PANEL - 1) / PANEL, tiles = std::max<int64_t>(1, batch / ROWS);
    constexpr int64_t strip_size = STRIP_PANELS * ACROSS * PANEL;
    Shortage shortage;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t share = 0; share < threads; share++) {
        Local<Buffer<Element>> own_strip(shortage, strip_size), own_next_strip(shortage, strip_size);
        Local<Buffer<float>> own_sums(shortage, batch * STRIP_PANELS * PANEL);
        if (!own_strip || !own_next_strip || !own_sums) continue;
        Buffer<Element> &strip = *own_strip, &next_strip = *own_next_strip;
        Buffer<float> &sums = *own_sums;
        const int64_t end = panels * (share + 1) / threads;
        for (int64_t number = panels * share / threads; number < end; number += STRIP_PANELS) {
            const int64_t count = std::min(STRIP_PANELS, end - number), column = number * PANEL;
            const int64_t columns = std::min(count * PANEL, in - column);
            const int64_t part = (ACROSS + count - 1) / count;  // rows of the next strip packed after each panel
            pack_strip<T>(w + column, in, out, columns, 0, std::min(ACROSS, rows.width), strip.data());
            for (int64_t k = 0; k < rows.width; k += ACROSS, strip.swap(next_strip))
                for (int64_t i = 0; i < count; i++) {
                    const int64_t from = k + ACROSS + i * part, to = std::min(k + 2 * ACROSS, from + part);
                    Prefetch next;
                    if (k + 2 * ACROSS <= rows.width && from < to)
                        next = {w + Packed<T>::DEPTH * from * in + column, columns / LINE,
                                (Packed<T>::DEPTH * (to - from) + tiles - 1) / tiles, in};
                    column_of_tiles(rows.elements + k, rows.width, strip.data() + i * ACROSS * PANEL,
                                    std::min(ACROSS, rows.width - k), sums.data() + i * PANEL, count * PANEL, batch,
                                    k > 0, next);
                    pack_strip<T>(w + column, in, out, columns, from, std::min(to, rows.width), next_strip.data());
                }
            round_rows(sums.data(), count * PANEL, dx + column, in, batch, columns);
        }
    }
    shortage.check();
}

// x[batch][columns] packed into panels of N columns, [panel][k][N], shared among the threads of the enclosing region.
template <int64_t N, class T>
void pack_columns(const T *x, int64_t batch, int64_t columns, typename Packed<T>::Element *panels) {
    constexpr int64_t DEPTH = Packed<T>::DEPTH;
    const int64_t depth = (batch + DEPTH - 1) / DEPTH;
#pragma omp for schedule(static)
    for (int64_t panel = 0; panel < (columns + N - 1) / N; panel++)
        for (int64_t k = 0; k < depth; k++) {
            const T *from = x + DEPTH * k * columns + panel * N;
            const T *next = DEPTH * k + 1 < batch ? from + columns : nullptr;
            Packed<T>::pack(from, next, columns - panel * N, panels + (panel * depth + k) * N, N);
        }
}

// The gradient of the weights g' x in tiles: calls compute(a, panel, depth, o, i) for each tile, whose corner is
// dw[o][i] and whose values are the sums over k < depth of a[k][ROWS] * panel[k][PANEL].
template <class T, class Compute>
void for_each_weight_tile(const T *x, const T *g, int64_t batch, int64_t in, int64_t out, int threads,
                          const Compute &compute) {
    using Element = typename Packed<T>::Element;
    const int64_t depth = (batch + Packed<T>::DEPTH - 1) / Packed<T>::DEPTH;
    const int64_t panels = (in + PANEL - 1) / PANEL, bands = (out + ROWS - 1) / ROWS;
    const int64_t together = std::max<int64_t>(1, IN_CACHE / (depth * PANEL));
    Buffer<Element> x_panels(panels * depth * PANEL), g_panels(bands * depth * ROWS);
#pragma omp parallel num_threads(threads)
    {
        pack_columns<PANEL>(x, batch, in, x_panels.data());
        pack_columns<ROWS>(g, batch, out, g_panels.data());
        for (int64_t first = 0; first < panels; first += together)
#pragma omp for schedule(static) nowait
            for (int64_t band = 0; band < bands; band++)
                for (int64_t panel = first; panel < std::min(panels, first + together); panel++)
                    compute(g_panels.data() + band * depth * ROWS, x_panels.data() + panel * depth * PANEL, depth,
                            band * ROWS, panel * PANEL);
        finish_streaming();
    }
}

// dw[out][in] = g[batch][out]' x[batch][in].
template <class T>
void linear_gradient_weight(const T *x, const T *g, float *dw, int64_t batch, int64_t in, int64_t out, int threads) {
    using Element = typename Packed<T>::Element;
    const bool aligned = in % LINE == 0 && (uintptr_t)dw % 64 == 0;
    const auto compute = [=](const Element *a, const Element *panel, int64_t depth, int64_t o, int64_t i) {
        const int64_t height = std::min<int64_t>(ROWS, out - o), width = std::min(PANEL, in - i);
        float *to = dw + o * in + i;
        if (height == ROWS && width == PANEL && aligned) {
            tile<ROWS, true>(a, 1, ROWS, panel, depth, to, in, false);
            return;
        }
        float edge[ROWS * PANEL];
        tile<ROWS, false>(a, 1, ROWS, panel, depth, edge, PANEL, false);
        for (int64_t r = 0; r < height; r++) std::copy_n(edge + r * PANEL, width, to + r * in);
    };
    for_each_weight_tile(x, g, batch, in, out, threads, compute);
}

// w[out][in] and its velocity v[out][in] by the update rule, with the gradient g[batch][out]' x[batch][in].
template <class T>
void linear_update(const T *x, const T *g, float *w, float *v, float rate, float momentum, float decay, int64_t batch,
                   int64_t in, int64_t out, int threads) {
    const Momentum rule{rate, momentum, decay};
    using Element = typename Packed<T>::Element;
    const auto compute = [=](const Element *a, const Element *panel, int64_t depth, int64_t o, int64_t i) {
        constexpr int64_t LINES = (PANEL + LINE - 1) / LINE;
        const int64_t height = std::min<int64_t>(ROWS, out - o), width = std::min(PANEL, in - i), at = o * in + i;
        const auto next_tile = [=](const float *of) {
            return Prefetch{of + at + PANEL, LINES, height, in, (ROWS * LINES + depth - 1) / depth};
        };
        alignas(64) float gradient[ROWS * PANEL];
        tile<ROWS, false>(a, 1, ROWS, panel, depth, gradient, PANEL, false, next_tile(w), next_tile(v));
        for (int64_t r = 0; r < height; r++) rule.update(w + at + r * in, v + at + r * in, gradient + r * PANEL, width);
    };
    for_each_weight_tile(x, g, batch, in, out, threads, compute);
}

}  // namespace
