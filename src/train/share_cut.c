/* Where a list is cut into runs, one a rank, in order: so that the costliest run costs as little as possible. */
#include "train/share_cut.h"
#include "base/size.h"

/* Samples of the run that ends at `end`, as many as its limits allow. */
static size_t take(const ar_cut *c, size_t end, double most) {
    double cost = 0.0;
    size_t slots = 0, n = 0;
    while (n < end) {
        double more = 0.0;
        size_t needs = 0;
        for (size_t i = 0; i < c->unit; i++) {
            more += c->cost[end - n - 1 - i];
            needs += c->need[end - n - 1 - i];
        }
        if (cost + more > most || slots + needs > c->slots) break;
        cost += more;
        slots += needs;
        n += c->unit;
    }
    return n;
}

/* Cuts from the end, so that what is left falls to rank 0, which needs no slots; whether that costs no more than `most`. */
static bool cut(size_t *bound, const ar_cut *c, int ranks, double most) {
    double left = 0.0;
    bound[ranks] = c->count;
    for (int i = ranks - 1; i > 0; i--) bound[i] = bound[i + 1] - take(c, bound[i + 1], most);
    bound[0] = 0;
    for (size_t i = 0; i < bound[1]; i++) left += c->cost[i];
    return left <= most;
}

void ar__cut(size_t *bound, const ar_cut *c, int ranks) {
    enum { ROUNDS = 40 };
    double low = 0.0, high = 0.0;
    for (size_t i = 0; i < c->count; i++) high += c->cost[i];
    for (int i = 0; i < ROUNDS; i++) {
        double mid = 0.5 * (low + high);
        if (cut(bound, c, ranks, mid))
            high = mid;
        else
            low = mid;
    }
    cut(bound, c, ranks, high * (1.0 + 1e-9));
}
