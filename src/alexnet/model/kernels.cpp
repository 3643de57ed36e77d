// The memory-bound layers of AlexNet for CPUs: local response normalisation, max pooling, the momentum update.
//
// Activations are [rows, channels] with channels contiguous (channels last: a row is a pixel), float32 or bfloat16;
// arithmetic is float32, results are rounded to nearest even. Built by kernels.py at first use and called through
// ctypes, hence no torch headers. Vector code is AVX-512; everything has a plain loop for other processors.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#include <immintrin.h>
#define ALEXNET_AVX512
#endif

namespace {

struct bfloat16 {
    uint16_t bits;
};

inline float widen(float value) { return value; }

inline float widen(bfloat16 value) {
    const uint32_t bits = uint32_t(value.bits) << 16;
    float result;
    std::memcpy(&result, &bits, 4);
    return result;
}

inline void narrow(float value, float &to) { to = value; }

inline void narrow(float value, bfloat16 &to) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    to.bits = value != value ? 0x7fc0 : uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

struct Norm {
    int64_t channels, groups, half;  // half: neighbours on each side
    float alpha, k;                  // beta is 3/4
};

// ---- Plain loops: any window, any processor ---------------------------------------------------------------------

constexpr int64_t BLOCK = 64;    // channels handled at a time
constexpr int64_t MAX_HALF = 16;  // the widest window is 33

template <class T> void lrn_row_loop(const T *x, T *y, const Norm &n) {
    const int64_t width = n.channels / n.groups;
    float squares[BLOCK + 2 * MAX_HALF];
    for (int64_t tower = 0; tower < n.groups; tower++, x += width, y += width)
        for (int64_t start = 0; start < width; start += BLOCK) {
            const int64_t count = std::min(BLOCK, width - start);
            for (int64_t i = -n.half; i < count + n.half; i++) {
                const int64_t c = start + i;
                const float value = c >= 0 && c < width ? widen(x[c]) : 0.0f;
                squares[i + n.half] = value * value;
            }
            for (int64_t i = 0; i < count; i++) {
                float total = 0;
                for (int64_t j = 0; j <= 2 * n.half; j++) total += squares[i + j];
                const float root = 1.0f / std::sqrt(n.k + n.alpha * total);
                narrow(widen(x[start + i]) * (root * std::sqrt(root)), y[start + i]);
            }
        }
}

// dx_j = g_j s_j^-b - 2 a b x_j sum_i g_i x_i s_i^(-b-1), i over the channels whose window holds j.
template <class T> void lrn_row_gradient_loop(const T *x, const T *g, T *dx, const Norm &n) {
    const int64_t width = n.channels / n.groups;
    float squares[BLOCK + 4 * MAX_HALF], shares[BLOCK + 2 * MAX_HALF], direct[BLOCK + 2 * MAX_HALF];
    for (int64_t tower = 0; tower < n.groups; tower++, x += width, g += width, dx += width)
        for (int64_t start = 0; start < width; start += BLOCK) {
            const int64_t count = std::min(BLOCK, width - start);
            for (int64_t i = -2 * n.half; i < count + 2 * n.half; i++) {
                const int64_t c = start + i;
                const float value = c >= 0 && c < width ? widen(x[c]) : 0.0f;
                squares[i + 2 * n.half] = value * value;
            }
            for (int64_t i = 0; i < count + 2 * n.half; i++) {
                const int64_t c = start + i - n.half;
                float total = 0;
                for (int64_t j = 0; j <= 2 * n.half; j++) total += squares[i + j];
                const float root = 1.0f / std::sqrt(n.k + n.alpha * total);
                const bool inside = c >= 0 && c < width;
                direct[i] = inside ? widen(g[c]) * (root * std::sqrt(root)) : 0.0f;
                shares[i] = inside ? direct[i] * widen(x[c]) * (root * root) : 0.0f;
            }
            for (int64_t i = 0; i < count; i++) {
                float total = 0;
                for (int64_t j = 0; j <= 2 * n.half; j++) total += shares[i + j];
                const float value = widen(x[start + i]);
                narrow(direct[i + n.half] - 1.5f * n.alpha * value * total, dx[start + i]);
            }
        }
}

// ---- AVX-512: sixteen channels at a time, windows of five -------------------------------------------------------

#ifdef ALEXNET_AVX512
constexpr int64_t LANES = 16;

inline __mmask16 first(int64_t count) { return count >= LANES ? 0xffff : __mmask16((1u << count) - 1); }

// Whole chunks are loaded and stored without a mask, which is faster.
struct Whole {
    Whole(int64_t) {}
};
struct Part {
    __mmask16 lanes;
    Part(int64_t count) : lanes(first(count)) {}
    static Part of(__mmask16 lanes) { Part part(0); part.lanes = lanes; return part; }
};

inline __m512 widened(__m256i bits) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16)); }

inline __m512 load(const float *from, Whole) { return _mm512_loadu_ps(from); }
inline __m512 load(const float *from, Part part) { return _mm512_maskz_loadu_ps(part.lanes, from); }
inline __m512 load(const bfloat16 *from, Whole) { return widened(_mm256_loadu_si256((const __m256i *)from)); }
inline __m512 load(const bfloat16 *from, Part part) { return widened(_mm256_maskz_loadu_epi16(part.lanes, from)); }

inline __m256i rounded(__m512 value) {
#ifdef __AVX512BF16__
    return (__m256i)_mm512_cvtneps_pbh(value);
#else
    const __m512i bits = _mm512_castps_si512(value);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i nearest = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(
        _mm512_mask_mov_epi32(_mm512_srli_epi32(nearest, 16), nan, _mm512_set1_epi32(0x7fc0)));
#endif
}

inline void store(float *to, Whole, __m512 value) { _mm512_storeu_ps(to, value); }
inline void store(float *to, Part part, __m512 value) { _mm512_mask_storeu_ps(to, part.lanes, value); }
inline void store(bfloat16 *to, Whole, __m512 value) { _mm256_storeu_si256((__m256i *)to, rounded(value)); }
inline void store(bfloat16 *to, Part part, __m512 value) { _mm256_mask_storeu_epi16(to, part.lanes, rounded(value)); }

// s ** -0.75 for s > 0: a 13-bit estimate and one Newton step, error below 2e-7.
inline __m512 power(__m512 s) {
    const __m512 root = _mm512_rsqrt14_ps(s);
    const __m512 guess = _mm512_mul_ps(_mm512_mul_ps(root, root), _mm512_rsqrt14_ps(root));
    const __m512 half = _mm512_mul_ps(s, _mm512_mul_ps(guess, guess));  // about s ** -0.5
    const __m512 one = _mm512_mul_ps(_mm512_mul_ps(half, half), s);     // about 1
    return _mm512_mul_ps(guess, _mm512_fnmadd_ps(_mm512_set1_ps(0.25f), one, _mm512_set1_ps(1.25f)));
}

// Lanes of [low, high], the sequence moved left by COUNT.
template <int COUNT> inline __m512 shifted(__m512 low, __m512 high) {
    return _mm512_castsi512_ps(_mm512_alignr_epi32(_mm512_castps_si512(high), _mm512_castps_si512(low), COUNT));
}

// Sums over five neighbours of a sequence given sixteen at a time: next(v) returns the sums of the chunk before v.
struct Window {
    __m512 current = _mm512_setzero_ps(), pairs = _mm512_setzero_ps();

    __m512 next(__m512 value) {
        const __m512 before = pairs;
        pairs = _mm512_add_ps(current, shifted<1>(current, value));
        const __m512 total = _mm512_add_ps(
            _mm512_add_ps(shifted<14>(before, pairs), pairs), shifted<2>(current, value));
        current = value;
        return total;
    }
};

template <class Lanes, class T> void lrn_tower(const T *x, T *y, int64_t width, const Norm &n) {
    const __m512 alpha = _mm512_set1_ps(n.alpha), k = _mm512_set1_ps(n.k);
    Window window;
    __m512 value = load(x, Lanes(width));
    window.next(_mm512_mul_ps(value, value));
    for (int64_t c = 0; c < width; c += LANES) {
        const int64_t rest = width - c - LANES;
        const __m512 after = rest > 0 ? load(x + c + LANES, Lanes(rest)) : _mm512_setzero_ps();
        const __m512 s = _mm512_fmadd_ps(alpha, window.next(_mm512_mul_ps(after, after)), k);
        store(y + c, Lanes(width - c), _mm512_mul_ps(value, power(s)));
        value = after;
    }
}

template <class Lanes, class T>
void lrn_tower_gradient(const T *x, const T *g, T *dx, int64_t width, const Norm &n) {
    const __m512 alpha = _mm512_set1_ps(n.alpha), k = _mm512_set1_ps(n.k), factor = _mm512_set1_ps(-1.5f * n.alpha);
    Window window, shares;
    __m512 value = load(x, Lanes(width)), weight_before = _mm512_setzero_ps(), direct_before = _mm512_setzero_ps();
    window.next(_mm512_mul_ps(value, value));
    for (int64_t c = 0; c < width; c += LANES) {
        const int64_t rest = width - c - LANES;
        const __m512 after = rest > 0 ? load(x + c + LANES, Lanes(rest)) : _mm512_setzero_ps();
        const __m512 s = _mm512_fmadd_ps(alpha, window.next(_mm512_mul_ps(after, after)), k);
        const __m512 t = power(s);
        const __m512 direct = _mm512_mul_ps(load(g + c, Lanes(width - c)), t);
        const __m512 half = _mm512_mul_ps(s, _mm512_mul_ps(t, t));  // s ** -0.5
        const __m512 total = shares.next(_mm512_mul_ps(_mm512_mul_ps(direct, value), _mm512_mul_ps(half, half)));
        if (c > 0) store(dx + c - LANES, Lanes(LANES), _mm512_fmadd_ps(weight_before, total, direct_before));
        weight_before = _mm512_mul_ps(factor, value);
        direct_before = direct;
        value = after;
    }
    const int64_t last = (width - 1) / LANES * LANES;
    const __m512 total = shares.next(_mm512_setzero_ps());
    store(dx + last, Lanes(width - last), _mm512_fmadd_ps(weight_before, total, direct_before));
}

template <class T> void lrn_row(const T *x, T *y, const Norm &n) {
    if (n.half != 2) return lrn_row_loop(x, y, n);
    const int64_t width = n.channels / n.groups;
    const auto tower = width % LANES ? lrn_tower<Part, T> : lrn_tower<Whole, T>;
    for (int64_t at = 0; at < n.channels; at += width) tower(x + at, y + at, width, n);
}

template <class T> void lrn_row_gradient(const T *x, const T *g, T *dx, const Norm &n) {
    if (n.half != 2) return lrn_row_gradient_loop(x, g, dx, n);
    const int64_t width = n.channels / n.groups;
    const auto tower = width % LANES ? lrn_tower_gradient<Part, T> : lrn_tower_gradient<Whole, T>;
    for (int64_t at = 0; at < n.channels; at += width) tower(x + at, g + at, dx + at, width, n);
}
#else
template <class T> void lrn_row(const T *x, T *y, const Norm &n) { lrn_row_loop(x, y, n); }
template <class T> void lrn_row_gradient(const T *x, const T *g, T *dx, const Norm &n) {
    lrn_row_gradient_loop(x, g, dx, n);
}
#endif

template <class T> void lrn(const T *x, T *y, int64_t rows, const Norm &n, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; row++) lrn_row(x + row * n.channels, y + row * n.channels, n);
}

template <class T> void lrn_gradient(const T *x, const T *g, T *dx, int64_t rows, const Norm &n, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        const int64_t at = row * n.channels;
        lrn_row_gradient(x + at, g + at, dx + at, n);
    }
}

// ---- Max pooling: the place of the maximum within its window is kept in one byte -----------------------------------

struct Pool {
    int64_t batch, height, width, channels, out_height, out_width, kernel, stride;
};

// The first maximum of the window at (row, column) of the output; NaN wins, as in torch.
template <class T> void pool_pixel(const T *x, T *y, uint8_t *place, const Pool &p, int64_t row, int64_t column) {
    const int64_t top = row * p.stride, bottom = std::min(top + p.kernel, p.height);
    const int64_t left = column * p.stride, right = std::min(left + p.kernel, p.width);
    int64_t c = 0;
#ifdef ALEXNET_AVX512
    for (; c < p.channels; c += LANES) {
        const Part lanes(p.channels - c);
        __m512 best = load(x + (top * p.width + left) * p.channels + c, lanes);
        __m512i where = _mm512_setzero_si512();
        for (int64_t h = top; h < bottom; h++)
            for (int64_t w = left; w < right; w++) {
                const __m512 value = load(x + (h * p.width + w) * p.channels + c, lanes);
                const __mmask16 better = _mm512_cmp_ps_mask(value, best, _CMP_GT_OQ) |
                                         _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
                best = _mm512_mask_mov_ps(best, better, value);
                where = _mm512_mask_mov_epi32(
                    where, better, _mm512_set1_epi32(int((h - top) * p.kernel + w - left)));
            }
        store(y + c, lanes, best);
        if (place) _mm_mask_storeu_epi8(place + c, lanes.lanes, _mm512_cvtepi32_epi8(where));
    }
#endif
    for (; c < p.channels; c++) {
        float best = widen(x[(top * p.width + left) * p.channels + c]);
        int64_t where = 0;
        for (int64_t h = top; h < bottom; h++)
            for (int64_t w = left; w < right; w++) {
                const float value = widen(x[(h * p.width + w) * p.channels + c]);
                if (value > best || value != value) best = value, where = (h - top) * p.kernel + w - left;
            }
        narrow(best, y[c]);
        if (place) place[c] = uint8_t(where);
    }
}

template <class T> void pool(const T *x, T *y, uint8_t *place, const Pool &p, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t line = 0; line < p.batch * p.out_height; line++) {
        const T *picture = x + line / p.out_height * p.height * p.width * p.channels;
        for (int64_t column = 0; column < p.out_width; column++) {
            const int64_t at = (line * p.out_width + column) * p.channels;
            pool_pixel(picture, y + at, place ? place + at : nullptr, p, line % p.out_height, column);
        }
    }
}

// What the pixel (h, w) receives from the windows in which it was the maximum; g and place are one picture's.
template <class T>
void pool_gradient_pixel(const T *g, const uint8_t *place, T *dx, const Pool &p, int64_t h, int64_t w) {
    const int64_t top = h < p.kernel ? 0 : (h - p.kernel) / p.stride + 1;
    const int64_t bottom = std::min(h / p.stride, p.out_height - 1);
    const int64_t left = w < p.kernel ? 0 : (w - p.kernel) / p.stride + 1;
    const int64_t right = std::min(w / p.stride, p.out_width - 1);
    int64_t c = 0;
#ifdef ALEXNET_AVX512
    for (; c < p.channels; c += LANES) {
        const __mmask16 lanes = first(p.channels - c);
        __m512 total = _mm512_setzero_ps();
        for (int64_t row = top; row <= bottom; row++)
            for (int64_t column = left; column <= right; column++) {
                const int64_t at = (row * p.out_width + column) * p.channels + c;
                const char here = char((h - row * p.stride) * p.kernel + w - column * p.stride);
                const __mmask16 mine = _mm_mask_cmpeq_epi8_mask(
                    lanes, _mm_maskz_loadu_epi8(lanes, place + at), _mm_set1_epi8(here));
                total = _mm512_add_ps(total, load(g + at, Part::of(mine)));
            }
        store(dx + c, Part::of(lanes), total);
    }
#endif
    for (; c < p.channels; c++) {
        float total = 0;
        for (int64_t row = top; row <= bottom; row++)
            for (int64_t column = left; column <= right; column++) {
                const int64_t at = (row * p.out_width + column) * p.channels + c;
                if (place[at] == uint8_t((h - row * p.stride) * p.kernel + w - column * p.stride))
                    total += widen(g[at]);
            }
        narrow(total, dx[c]);
    }
}

template <class T> void pool_gradient(const T *g, const uint8_t *place, T *dx, const Pool &p, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t line = 0; line < p.batch * p.height; line++) {
        const int64_t picture = line / p.height * p.out_height * p.out_width * p.channels;
        for (int64_t w = 0; w < p.width; w++)
            pool_gradient_pixel(
                g + picture, place + picture, dx + (line * p.width + w) * p.channels, p, line % p.height, w);
    }
}

}  // namespace

extern "C" {

int alexnet_vector_width() {
#ifdef ALEXNET_AVX512
    return 16;
#else
    return 1;
#endif
}

#define ALEXNET_LAYERS(NAME, T)                                                                                        \
    void lrn_##NAME(const T *x, T *y, int64_t rows, int64_t channels, int64_t groups, int64_t half, float alpha,       \
                    float k, int threads) {                                                                            \
        lrn(x, y, rows, Norm{channels, groups, half, alpha, k}, threads);                                              \
    }                                                                                                                  \
    void lrn_gradient_##NAME(const T *x, const T *g, T *dx, int64_t rows, int64_t channels, int64_t groups,            \
                             int64_t half, float alpha, float k, int threads) {                                        \
        lrn_gradient(x, g, dx, rows, Norm{channels, groups, half, alpha, k}, threads);                                 \
    }                                                                                                                  \
    void pool_##NAME(const T *x, T *y, uint8_t *place, int64_t batch, int64_t height, int64_t width,                   \
                     int64_t channels, int64_t out_height, int64_t out_width, int64_t kernel, int64_t stride,          \
                     int threads) {                                                                                    \
        pool(x, y, place, Pool{batch, height, width, channels, out_height, out_width, kernel, stride}, threads);       \
    }                                                                                                                  \
    void pool_gradient_##NAME(const T *g, const uint8_t *place, T *dx, int64_t batch, int64_t height, int64_t width,   \
                              int64_t channels, int64_t out_height, int64_t out_width, int64_t kernel, int64_t stride, \
                              int threads) {                                                                           \
        pool_gradient(g, place, dx, Pool{batch, height, width, channels, out_height, out_width, kernel, stride},       \
                      threads);                                                                                        \
    }

ALEXNET_LAYERS(float32, float)
ALEXNET_LAYERS(bfloat16, bfloat16)

// v <- momentum v - decay w - rate g; w <- w + v (decay is the weight decay times the rate).
void momentum_update(float *w, float *v, const float *g, int64_t count, float rate, float momentum, float decay,
                     int threads) {
#pragma omp parallel for simd num_threads(threads) schedule(static)
    for (int64_t i = 0; i < count; i++) {
        v[i] = momentum * v[i] - decay * w[i] - rate * g[i];
        w[i] += v[i];
    }
}
}
