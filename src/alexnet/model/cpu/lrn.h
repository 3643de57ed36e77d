// Local response normalisation (paper, section 3.3) of x[pixels][channels] over the channels:
//
//     y[i] = x[i] s[i] ** -0.75,    s[i] = k + alpha * sum of x[j] ** 2,    i - half <= j <= i + half
//
// where j stays within the tower of i, of which there are `groups`. With `relu` the input is max(x, 0). The gradient is
//
//     dx[j] = g[j] s[j] ** -0.75 - 1.5 alpha x[j] * sum of g[i] x[i] s[i] ** -1.75,    j - half <= i <= j + half
//
// and 0 where `relu` and x[j] <= 0.
#pragma once

#include <algorithm>

#include "power.h"
#include "vector.h"

namespace {

struct Lrn {
    int64_t channels, groups, half;  // half: neighbours on each side
    bool relu;
    float alpha, k;

    int64_t tower() const { return channels / groups; }
    Floats scale(Floats sum) const { return alpha * sum + k; }  // s
};

template <bool RELU, class T, class Lanes> inline Floats lrn_input(const T *x, Lanes lanes) {
    return RELU ? rectified(load(x, lanes)) : load(x, lanes);
}

// ---- Windows of five channels, the paper's: everything stays in registers ----

// Sums over five neighbours of a sequence that is given one vector at a time: `next(v)` returns those of the vector
// before v.
struct FiveSums {
    Floats current{}, pairs{};

    Floats next(Floats value) {
        const Floats before = pairs;
        pairs = current + shifted<1>(current, value);
        const Floats sums = (shifted<WIDTH - 2>(before, pairs) + pairs) + shifted<2>(current, value);
        current = value;
        return sums;
    }
};

template <bool RELU, class Lanes, class T> void lrn_five(const T *x, T *y, int64_t width, const Lrn &n) {
    FiveSums squares;
    Floats value = lrn_input<RELU>(x, Lanes(width));
    squares.next(value * value);
    for (int64_t c = 0; c < width; c += WIDTH) {
        const int64_t rest = width - c - WIDTH;
        const Floats after = rest > 0 ? lrn_input<RELU>(x + c + WIDTH, Lanes(rest)) : Floats{};
        const Floats s = n.scale(squares.next(after * after));
        store(y + c, Lanes(width - c), value * power(s));
        value = after;
    }
}

template <bool RELU, class Lanes, class T, class G>
void lrn_five_gradient(const T *x, const G *g, T *dx, int64_t width, const Lrn &n) {
    const Floats zero{}, factor = all(-1.5f * n.alpha);
    FiveSums squares, shares;
    Floats value = lrn_input<RELU>(x, Lanes(width)), value_before = zero, direct_before = zero;
    squares.next(value * value);
    const auto finish = [&](int64_t c, Lanes lanes, Floats share) {
        const Floats sums = shares.next(share);
        const Floats slope = (factor * value_before) * sums + direct_before;
        if (c >= 0) store(dx + c, lanes, RELU ? select(greater(value_before, zero), slope, zero) : slope);
    };
    for (int64_t c = 0; c < width; c += WIDTH) {
        const int64_t rest = width - c - WIDTH;
        const Floats after = rest > 0 ? lrn_input<RELU>(x + c + WIDTH, Lanes(rest)) : zero;
        const Floats s = n.scale(squares.next(after * after)), t = power(s), root = inverse_root(s, t);
        const Floats direct = load(g + c, Lanes(width - c)) * t;
        finish(c - WIDTH, Lanes(WIDTH), (direct * value) * (root * root));
        value_before = value;
        direct_before = direct;
        value = after;
    }
    const int64_t last = (width - 1) / WIDTH * WIDTH;
    finish(last, Lanes(width - last), zero);
}

// ---- The same for towers that fit into one vector ----

inline Floats five_sums(Floats value) {
    FiveSums sums;
    sums.next(value);
    return sums.next(Floats{});
}

template <bool RELU, class T> inline void lrn_narrow(const T *x, T *y, Part lanes, const Lrn &n) {
    const Floats value = lrn_input<RELU>(x, lanes);
    store(y, lanes, value * power(n.scale(five_sums(value * value))));
}

template <bool RELU, class T, class G>
inline void lrn_narrow_gradient(const T *x, const G *g, T *dx, Part lanes, const Lrn &n) {
    const Floats zero{}, factor = all(-1.5f * n.alpha), value = lrn_input<RELU>(x, lanes);
    const Floats s = n.scale(five_sums(value * value)), t = power(s), root = inverse_root(s, t);
    const Floats direct = load(g, lanes) * t, share = (direct * value) * (root * root);
    const Floats slope = (factor * value) * five_sums(share) + direct;
    store(dx, lanes, RELU ? select(greater(value, zero), slope, zero) : slope);
}

// ---- Any window: some channels at a time, by way of buffers ----

constexpr int64_t BLOCK = 128;    // channels
constexpr int64_t MAX_HALF = 16;  // the widest window is 33

// Values of the channels from `first` on, with room for a vector that is stored at the end.
struct Values {
    int64_t first;
    alignas(64) float values[BLOCK + 4 * MAX_HALF + WIDTH];

    float *at(int64_t channel) { return values + channel - first; }

    // Calls `make` for each vector of channels from `from` to before `to`; those outside the tower are 0.
    template <class Make> void fill(int64_t from, int64_t to, int64_t width, Make make) {
        first = from;
        const int64_t begin = std::max<int64_t>(from, 0), end = std::min(to, width);
        std::fill(at(from), at(begin), 0.0f);
        for (int64_t c = begin; c < end; c += WIDTH) store(at(c), make(c, Part(end - c)));
        std::fill(at(end), at(to), 0.0f);
    }

    Floats sums(int64_t channel, int64_t half) {
        Floats sum = load(at(channel - half));
        for (int64_t j = 1 - half; j <= half; j++) sum += load(at(channel + j));
        return sum;
    }
};

template <bool RELU, class T> void lrn_any(const T *x, T *y, int64_t width, const Lrn &n) {
    Values squares;
    for (int64_t start = 0; start < width; start += BLOCK) {
        const int64_t end = std::min(start + BLOCK, width);
        squares.fill(start - n.half, end + n.half, width, [&](int64_t c, Part lanes) {
            const Floats value = lrn_input<RELU>(x + c, lanes);
            return value * value;
        });
        for (int64_t c = start; c < end; c += WIDTH) {
            const Part lanes(end - c);
            const Floats s = n.scale(squares.sums(c, n.half));
            store(y + c, lanes, lrn_input<RELU>(x + c, lanes) * power(s));
        }
    }
}

template <bool RELU, class T, class G>
void lrn_any_gradient(const T *x, const G *g, T *dx, int64_t width, const Lrn &n) {
    Values squares, direct, shares;
    for (int64_t start = 0; start < width; start += BLOCK) {
        const int64_t end = std::min(start + BLOCK, width), from = start - n.half, to = end + n.half;
        squares.fill(from - n.half, to + n.half, width, [&](int64_t c, Part lanes) {
            const Floats value = lrn_input<RELU>(x + c, lanes);
            return value * value;
        });
        direct.first = from;
        shares.fill(from, to, width, [&](int64_t c, Part lanes) {
            const Floats s = n.scale(squares.sums(c, n.half)), t = power(s), root = inverse_root(s, t);
            const Floats slope = load(g + c, lanes) * t;
            store(direct.at(c), slope);
            return (slope * lrn_input<RELU>(x + c, lanes)) * (root * root);
        });
        for (int64_t c = start; c < end; c += WIDTH) {
            const Part lanes(end - c);
            const Floats value = lrn_input<RELU>(x + c, lanes), sums = shares.sums(c, n.half);
            const Floats slope = (-1.5f * n.alpha * value) * sums + load(direct.at(c));
            store(dx + c, lanes, RELU ? select(greater(value, Floats{}), slope, Floats{}) : slope);
        }
    }
}

// ---- One pixel: tower by tower ----

template <bool RELU, class T> void lrn_towers(const T *x, T *y, const Lrn &n) {
    const int64_t width = n.tower();
    if (n.half == 2 && width <= WIDTH) {
        for (int64_t at = 0; at < n.channels; at += width) lrn_narrow<RELU>(x + at, y + at, Part(width), n);
        return;
    }
    const auto tower = n.half != 2          ? lrn_any<RELU, T>
                       : width % WIDTH == 0 ? lrn_five<RELU, Whole, T>
                                            : lrn_five<RELU, Part, T>;
    for (int64_t at = 0; at < n.channels; at += width) tower(x + at, y + at, width, n);
}

template <bool RELU, class T, class G> void lrn_towers_gradient(const T *x, const G *g, T *dx, const Lrn &n) {
    const int64_t width = n.tower();
    if (n.half == 2 && width <= WIDTH) {
        for (int64_t at = 0; at < n.channels; at += width)
            lrn_narrow_gradient<RELU>(x + at, g + at, dx + at, Part(width), n);
        return;
    }
    const auto tower = n.half != 2          ? lrn_any_gradient<RELU, T, G>
                       : width % WIDTH == 0 ? lrn_five_gradient<RELU, Whole, T, G>
                                            : lrn_five_gradient<RELU, Part, T, G>;
    for (int64_t at = 0; at < n.channels; at += width) tower(x + at, g + at, dx + at, width, n);
}

template <class T> void lrn_pixel(const T *x, T *y, const Lrn &n) {
    n.relu ? lrn_towers<true>(x, y, n) : lrn_towers<false>(x, y, n);
}

template <class T, class G> void lrn_pixel_gradient(const T *x, const G *g, T *dx, const Lrn &n) {
    n.relu ? lrn_towers_gradient<true>(x, g, dx, n) : lrn_towers_gradient<false>(x, g, dx, n);
}

// ---- Kernels: x, y, g, dx [pixels][channels] ----

template <class T>
void lrn(const T *x, T *y, int64_t pixels, int64_t channels, int64_t groups, int64_t half, bool relu, float alpha,
         float k, int threads) {
    const Lrn n{channels, groups, half, relu, alpha, k};
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < pixels; i++) lrn_pixel(x + i * channels, y + i * channels, n);
}

template <class T>
void lrn_gradient(const T *x, const T *g, T *dx, int64_t pixels, int64_t channels, int64_t groups, int64_t half,
                  bool relu, float alpha, float k, int threads) {
    const Lrn n{channels, groups, half, relu, alpha, k};
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < pixels; i++) lrn_pixel_gradient(x + i * channels, g + i * channels, dx + i * channels, n);
}

}  // namespace
