/* A list cut into runs: whole, in order, within its limits, and the costliest run as cheap as any cut has it. */
#include "train/share_cut.h"
#include "util.h"

enum { MOST = 9 };

static double cost_of(const ar_cut *c, size_t first, size_t last) {
    double sum = 0.0;
    for (size_t i = first; i < last; i++) sum += c->cost[i];
    return sum;
}

static size_t need_of(const ar_cut *c, size_t first, size_t last) {
    size_t sum = 0;
    for (size_t i = first; i < last; i++) sum += c->need[i];
    return sum;
}

/* The best of all cuts, by trying them. */
static double best(const ar_cut *c, size_t end, int ranks) {
    double least = 1e300;
    if (ranks == 1) return cost_of(c, 0, end);
    for (size_t at = 0; at <= end; at += c->unit) {
        if (need_of(c, at, end) > c->slots) continue;
        double here = cost_of(c, at, end), before = best(c, at, ranks - 1);
        double most = here > before ? here : before;
        if (most < least) least = most;
    }
    return least;
}

static void check(const ar_cut *c, int ranks) {
    size_t bound[8];
    double most = 0.0;
    ar__cut(bound, c, ranks);
    assert_int_equal(bound[0], 0);
    assert_int_equal(bound[ranks], c->count);
    for (int i = 0; i < ranks; i++) {
        assert_true(bound[i] <= bound[i + 1] && bound[i] % c->unit == 0);
        if (i > 0) assert_true(need_of(c, bound[i], bound[i + 1]) <= c->slots);
        double cost = cost_of(c, bound[i], bound[i + 1]);
        if (cost > most) most = cost;
    }
    assert_near(most, best(c, c->count, ranks), 1e-6);
}

static void the_costliest_run_is_as_cheap_as_can_be(void **state) {
    double cost[MOST];
    size_t need[MOST];
    uint64_t x = 5;
    (void)state;
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < MOST; i++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            cost[i] = (double)(1 + (x >> 33) % (round % 3 ? 1000 : 3));
            need[i] = 1 + (x >> 50) % 3;
        }
        for (size_t count = 0; count <= MOST; count++)
            for (int ranks = 1; ranks <= 5; ranks++)
                for (size_t unit = 1; unit <= 2; unit++)
                    if (count % unit == 0) check(&(ar_cut){cost, need, count, unit, round % 2 ? 100 : 4}, ranks);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_costliest_run_is_as_cheap_as_can_be)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
