/* The kernel of numba_kernel.py in C. */
#include <stdint.h>

typedef struct {
    int64_t start, first, last, open, high, low, close, volume;
    double turnover;
    int64_t count, unused[6];
} slot_t;

typedef struct {
    int64_t code, start, open, high, low, close, volume, count;
} bar_t;

static inline int64_t flush(int64_t code, const slot_t *s, bar_t *out, double *averages, int64_t at) {
    out[at] = (bar_t){code, s->start, s->open, s->high, s->low, s->close, s->volume, s->count};
    averages[at] = s->turnover / (double)s->volume / 1e9;
    return at + 1;
}

int64_t second_bars(int64_t n, const int64_t *restrict times, const int32_t *restrict codes,
                    const int64_t *restrict prices, const int64_t *restrict sizes,
                    slot_t *restrict slots, bar_t *restrict out, double *restrict averages,
                    int64_t keys) {
    const uint64_t width = 1000000000u;
    int64_t start = 0, at = 0;
    uint64_t half = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t time = times[i], price = prices[i], size = sizes[i];
        if ((uint64_t)(time - start) >= width) {
            const uint64_t second = (uint64_t)time / width;
            start = (int64_t)(second * width);
            half = second & 1;
        }
        slot_t *const s = slots + (uint64_t)codes[i] * 2 + half;
        const double turnover = (double)price * (double)size;
        if (s->start != start) {
            if (s->count)
                at = flush(codes[i], s, out, averages, at);
            *s = (slot_t){start, time, time, price, price, price, price, size, turnover, 1, {0}};
            continue;
        }
        if (time >= s->last) {
            s->last = time;
            s->close = price;
        } else if (time < s->first) {
            s->first = time;
            s->open = price;
        }
        s->high = price > s->high ? price : s->high;
        s->low = price < s->low ? price : s->low;
        s->volume += size;
        s->turnover += turnover;
        s->count++;
    }
    for (int64_t k = 0; k < keys * 2; k++)
        if (slots[k].count)
            at = flush(k / 2, slots + k, out, averages, at);
    return at;
}
