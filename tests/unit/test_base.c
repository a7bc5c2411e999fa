/* The foundations: messages, overflow checks, buffers, arenas, maps, files that appear whole, Philox. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"
#include "util.h"

static void fail_formats_the_message_and_returns_the_status(void **state) {
    (void)state;
    ar_error err = {0};
    assert_error(ar__fail(&err, AR_ERR_FORMAT, "%s: found %d", "a.bin", 3), AR_ERR_FORMAT, err, "a.bin: found 3");
    assert_int_equal(err.status, AR_ERR_FORMAT);
    assert_error(ar__fail_at(&err, AR_ERR_FORMAT, "dir"), AR_ERR_FORMAT, err, "dir: a.bin: found 3");
    assert_int_equal(ar__fail(NULL, AR_ERR_IO, "x"), AR_ERR_IO);
    char longer[5000];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    ar__fail(&err, AR_ERR_VALUE, "%s", longer);
    assert_true(strlen(err.message) < sizeof err.message);
}

static void sizes_that_overflow_are_refused(void **state) {
    (void)state;
    size_t product = 0;
    assert_true(ar__mul(&product, 6, 7) && product == 42);
    assert_false(ar__mul(&product, SIZE_MAX / 2, 3));
    assert_null(ar__alloc(SIZE_MAX / 4, 8));
    float *x = ar__alloc(3, sizeof *x);
    assert_non_null(x);
    assert_int_equal((uintptr_t)x % 64, 0);
    assert_true(x[0] == 0 && x[2] == 0);
    free(x);
}

static void a_buffer_grows_and_stays_terminated(void **state) {
    (void)state;
    ar_buf b = {0};
    for (int i = 0; i < 1000; i++) ar__buf_printf(&b, "%d,", i);
    ar__buf_puts(&b, "end");
    assert_false(b.failed);
    assert_int_equal(strlen(b.data), b.len);
    assert_string_equal(b.data + b.len - 7, "999,end");
    ar__buf_clear(&b);
    assert_int_equal(b.len, 0);
    ar__buf_add(&b, "a\0b", 3);
    assert_memory_equal(b.data, "a\0b", 4);
    ar__buf_release(&b);
    ar__buf_release(&b);
}

static void an_array_grows_zeroed_and_keeps_what_it_had(void **state) {
    (void)state;
    size_t cap = 0;
    int *a = ar__grow(NULL, &cap, 1, sizeof *a);
    a[0] = 7;
    a = ar__grow(a, &cap, 100, sizeof *a);
    assert_true(cap >= 100 && a[0] == 7 && a[99] == 0);
    assert_null(ar__grow(a, &cap, SIZE_MAX / 2, sizeof *a));
    assert_true(cap >= 100 && a[0] == 7);
    free(a);
}

static void an_arena_measures_what_it_then_needs(void **state) {
    (void)state;
    ar_arena a;
    size_t peak = 0;
    for (int round = 0; round < 2; round++) {
        assert_true(ar__arena_init(&a, peak));
        ar__arena_take(&a, 1);
        ar_mark mark = ar__arena_mark(&a);
        float *first = ar__arena_f32(&a, 100);
        ar__arena_reset(&a, mark);
        float *again = ar__arena_f32(&a, 50);
        if (round) assert_ptr_equal(first, again);
        if (round) assert_int_equal((uintptr_t)again % 64, 0);
        peak = a.peak;
        ar__arena_release(&a);
    }
    assert_int_equal(peak, 64 + 448);
}

static void a_map_finds_what_was_put(void **state) {
    (void)state;
    ar_map m = {0};
    char key[32];
    assert_int_equal(ar__map_find_str(&m, "x"), AR_MAP_NONE);
    for (size_t i = 0; i < 5000; i++) {
        int n = snprintf(key, sizeof key, "key-%zu", i);
        assert_true(ar__map_put(&m, key, (size_t)n, i));
    }
    assert_true(ar__map_put(&m, "key-7", 5, 70));
    assert_true(ar__map_put(&m, "\0a", 2, 1) && ar__map_put(&m, "\0b", 2, 2));
    assert_int_equal(m.count, 5002);
    assert_int_equal(ar__map_find_str(&m, "key-7"), 70);
    assert_int_equal(ar__map_find_str(&m, "key-4999"), 4999);
    assert_int_equal(ar__map_find(&m, "\0b", 2), 2);
    assert_int_equal(ar__map_find_str(&m, "key-5000"), AR_MAP_NONE);
    assert_int_equal(ar__map_find(&m, "key-49999", 8), 4999);
    ar__map_release(&m);
}

static void a_file_takes_its_name_only_when_whole(void **state) {
    (void)state;
    ar_error err = {0};
    const char *path = temp_text("whole.txt", "old");
    ar_writer w;
    assert_ok(ar__writer_open(&w, path, &err), err);
    assert_ok(ar__writer_put(&w, "new", 3, &err), err);
    char *text = read_file(path, NULL);
    assert_string_equal(text, "old");
    free(text);
    ar__writer_abort(&w);
    text = read_file(path, NULL);
    assert_string_equal(text, "old");
    free(text);
    assert_ok(ar__file_write(path, "new", 3, &err), err);
    text = read_file(path, NULL);
    assert_string_equal(text, "new");
    free(text);
}

static void reading_says_what_is_wrong(void **state) {
    (void)state;
    ar_error err = {0};
    ar_buf b = {0};
    ar_filemap m = {0};
    assert_error(ar__file_read(&b, temp_path("absent"), 100, &err), AR_ERR_IO, err, "absent: cannot open");
    assert_error(ar__filemap_open(&m, temp_path("absent"), &err), AR_ERR_IO, err, "absent");
    assert_true(ar__file_read(&b, temp_text("big", "123456"), 5, &err) != AR_OK);
    assert_ok(ar__file_read(&b, temp_path("big"), 6, &err), err);
    assert_string_equal(b.data, "123456");
    ar__buf_release(&b);
    assert_ok(ar__filemap_open(&m, temp_text("empty", ""), &err), err);
    assert_int_equal(m.size, 0);
    ar__filemap_close(&m);
    assert_true(ar__filemap_open(&m, temp_path("."), &err) != AR_OK);
}

static void folders_are_made_and_removed_with_what_is_in_them(void **state) {
    (void)state;
    ar_error err = {0};
    const char *dir = temp_path("a");
    char *inner = ar__path_join(dir, "b/c");
    assert_ok(ar__dir_make(inner, &err), err);
    assert_ok(ar__dir_make(inner, &err), err);
    assert_true(ar__path_is_dir(inner));
    char *file = ar__path_join(inner, "f");
    assert_ok(ar__file_write(file, "x", 1, &err), err);
    assert_string_equal(ar__path_base(file), "f");
    assert_true(ar__dir_make(file, &err) != AR_OK);
    assert_ok(ar__dir_remove(dir, &err), err);
    assert_false(ar__path_exists(dir));
    assert_ok(ar__dir_remove(dir, &err), err);
    free(file);
    free(inner);
}

/* Known answers of Philox4x32-10 from the Random123 distribution (kat_vectors). */
static void philox_gives_the_published_numbers(void **state) {
    (void)state;
    static const struct {
        uint64_t index;
        uint32_t stream[2], key[2], want[4];
    } known[] = {
        {0, {0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {UINT64_MAX, {UINT32_MAX, UINT32_MAX}, {UINT32_MAX, UINT32_MAX}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {0x85a308d3243f6a88, {0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        ar_rng g = {{known[i].key[0], known[i].key[1]}, {known[i].stream[0], known[i].stream[1]}};
        uint32_t got[4];
        ar__rng_block(got, &g, known[i].index);
        assert_memory_equal(got, known[i].want, sizeof got);
    }
}

static void random_numbers_have_their_moments(void **state) {
    (void)state;
    enum { N = 100000 };
    ar_rng g = ar__rng_stream(1, AR_RNG_INIT, 2, 3), other = ar__rng_stream(1, AR_RNG_INIT, 2, 4);
    double uniform = 0, normal = 0, square = 0, product = 0;
    for (uint64_t i = 0; i < N; i++) {
        double u = ar__rng_uniform(&g, i), z = ar__rng_normal(&g, i);
        assert_true(u >= 0 && u < 1);
        uniform += u / N;
        normal += z / N;
        square += z * z / N;
        product += z * ar__rng_normal(&other, i) / N;
    }
    assert_near(uniform, 0.5, 0.005);
    assert_near(normal, 0, 0.015);
    assert_near(square, 1, 0.02);
    assert_near(product, 0, 0.015); /* streams that differ in one word are independent */
    assert_true(ar__rng_hash("a") != ar__rng_hash("b"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_formats_the_message_and_returns_the_status),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(a_buffer_grows_and_stays_terminated),
        cmocka_unit_test(an_array_grows_zeroed_and_keeps_what_it_had),
        cmocka_unit_test(an_arena_measures_what_it_then_needs),
        cmocka_unit_test(a_map_finds_what_was_put),
        cmocka_unit_test(a_file_takes_its_name_only_when_whole),
        cmocka_unit_test(reading_says_what_is_wrong),
        cmocka_unit_test(folders_are_made_and_removed_with_what_is_in_them),
        cmocka_unit_test(philox_gives_the_published_numbers),
        cmocka_unit_test(random_numbers_have_their_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
