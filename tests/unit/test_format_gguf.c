/* The GGUF reader on files made by hand, most of them broken, and the writer on its own output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "format/gguf.h"
#include "util.h"

/* Little-endian, with zeros past the eighth byte. */
static void put(ar_buf *b, uint64_t v, int bytes) {
    for (int i = 0; i < bytes; i++, v >>= 8) ar__buf_add(b, &(unsigned char){(unsigned char)v}, 1);
}

static void text(ar_buf *b, const char *s) {
    put(b, strlen(s), 8);
    ar__buf_puts(b, s);
}

static void head(ar_buf *b, uint64_t tensors, uint64_t kvs) {
    ar__buf_puts(b, "GGUF");
    put(b, 3, 4);
    put(b, tensors, 8);
    put(b, kvs, 8);
}

static void key(ar_buf *b, const char *name, unsigned type) {
    text(b, name);
    put(b, type, 4);
}

static void info(ar_buf *b, const char *name, int dims, const uint64_t *ne, unsigned type, uint64_t offset) {
    text(b, name);
    put(b, (uint64_t)dims, 4);
    for (int i = 0; i < dims; i++) put(b, ne[i], 8);
    put(b, type, 4);
    put(b, offset, 8);
}

static void pad(ar_buf *b, size_t to) {
    while (b->len % to) put(b, 0, 1);
}

static const char *store(ar_buf *b) {
    const char *path = temp_file("made.gguf", b->data, b->len);
    ar__buf_release(b);
    *b = (ar_buf){0};
    return path;
}

static void refuse_file(const char *path, ar_status status, const char *part) {
    ar_error err;
    ar_gguf *g;
    assert_error(ar__gguf_open(&g, path, &err), status, err, part);
    assert_null(g);
}

static void refuse(ar_buf *b, ar_status status, const char *part) { refuse_file(store(b), status, part); }

static ar_gguf *open_ok(const char *path) {
    ar_error err;
    ar_gguf *g;
    assert_ok(ar__gguf_open(&g, path, &err), err);
    return g;
}

/* One value of every type, and lists. */
static void all_values(ar_buf *b) {
    key(b, "u8", 0), put(b, 200, 1);
    key(b, "i8", 1), put(b, 0xfe, 1);
    key(b, "u16", 2), put(b, 60000, 2);
    key(b, "i16", 3), put(b, 0xfffe, 2);
    key(b, "u32", 4), put(b, 4000000000u, 4);
    key(b, "i32", 5), put(b, 0xfffffffe, 4);
    key(b, "f32", 6), put(b, 0x3fc00000, 4);
    key(b, "yes", 7), put(b, 1, 1);
    key(b, "text", 8), text(b, "llama");
    key(b, "u64", 10), put(b, UINT64_C(1) << 63, 8);
    key(b, "i64", 11), put(b, UINT64_MAX - 1, 8);
    key(b, "f64", 12), put(b, UINT64_C(0x3ff8000000000000), 8);
    key(b, "list", 9), put(b, 5, 4), put(b, 2, 8), put(b, 7, 4), put(b, 0xffffffff, 4);
    key(b, "names", 9), put(b, 8, 4), put(b, 40, 8);
    for (int i = 0; i < 40; i++) put(b, (uint64_t)i % 3, 8), ar__buf_add(b, "\xff\0z", (size_t)i % 3);
    key(b, "none", 9), put(b, 8, 4), put(b, 0, 8);
}
enum { ALL_VALUES = 15 };

static const char *whole_file(void) {
    static const uint64_t matrix[] = {4, 2}, row[] = {32}, empty[] = {0, 3};
    ar_buf b = {0};
    head(&b, 5, ALL_VALUES);
    all_values(&b);
    info(&b, "w", 2, matrix, 0, 64);
    info(&b, "q", 1, row, 8, 0);
    info(&b, "scalar", 0, NULL, 28, 96);
    info(&b, "empty", 2, empty, 0, 96);
    info(&b, "k4", 1, (uint64_t[]){256}, 12, 128);
    pad(&b, 32);
    for (int i = 0; i < 128 + 144; i++) put(&b, (uint64_t)i, 1);
    return store(&b);
}

static void values_of_every_type_are_read(void **state) {
    (void)state;
    static const struct {
        const char *key;
        int64_t value;
    } ints[] = {{"u8", 200}, {"i8", -2}, {"u16", 60000}, {"i16", -2}, {"u32", 4000000000}, {"i32", -2}, {"i64", -2}, {"absent", 77}};
    ar_error err;
    ar_gguf *g = open_ok(whole_file());
    assert_int_equal(ar__gguf_kv_count(g), ALL_VALUES);
    assert_string_equal(ar__gguf_kv_at(g, 8)->key, "text");
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        int64_t v = 77;
        double d = 77;
        assert_ok(ar__gguf_get_int(&v, g, ints[i].key, &err), err);
        assert_ok(ar__gguf_get_double(&d, g, ints[i].key, &err), err);
        assert_true(v == ints[i].value && d == (double)v);
    }
    double d = 0;
    bool yes = false;
    ar_gguf_string s;
    assert_ok(ar__gguf_get_double(&d, g, "f32", &err), err);
    assert_true(d == 1.5);
    assert_ok(ar__gguf_get_double(&d, g, "f64", &err), err);
    assert_true(d == 1.5);
    assert_ok(ar__gguf_get_bool(&yes, g, "yes", &err), err);
    assert_true(yes);
    assert_ok(ar__gguf_get_string(&s, g, "text", &err), err);
    assert_true(ar__gguf_string_is(s, "llama") && !ar__gguf_string_is(s, "llam"));
    assert_ok(ar__gguf_need_key(g, "list", &err), err);
    assert_error(ar__gguf_need_key(g, "absent", &err), AR_ERR_FORMAT, err, "made.gguf: 'absent' is missing");
    ar__gguf_close(g);
}

static void lists_are_read_by_index(void **state) {
    (void)state;
    ar_error err;
    const ar_gguf_kv *kv = NULL;
    ar_gguf *g = open_ok(whole_file());
    int64_t v;
    ar_gguf_string s;
    assert_ok(ar__gguf_get_array(&kv, g, "list", AR_GGUF_I32, &err), err);
    assert_int_equal(kv->count, 2);
    assert_true(ar__gguf_int_at(&v, kv, 1) && v == -1);
    assert_false(ar__gguf_string_at(&s, kv, 0));
    assert_ok(ar__gguf_get_array(&kv, g, "names", AR_GGUF_STRING, &err), err);
    assert_int_equal(kv->count, 40);
    for (size_t i = 0; i < 40; i++) {
        assert_true(ar__gguf_string_at(&s, kv, i));
        assert_true(s.len == i % 3 && !memcmp(s.at, "\xff\0z", s.len));
    }
    assert_false(ar__gguf_int_at(&v, kv, 0));
    kv = NULL;
    assert_ok(ar__gguf_get_array(&kv, g, "absent", AR_GGUF_STRING, &err), err);
    assert_null(kv);
    assert_int_equal(ar__gguf_kv_find(g, "none")->count, 0);
    ar__gguf_close(g);
}

static void other_types_are_named(void **state) {
    (void)state;
    ar_error err;
    ar_gguf *g = open_ok(whole_file());
    int64_t v = 5;
    double d = 5;
    bool yes = true;
    ar_gguf_string s = {0};
    const ar_gguf_kv *kv = NULL;
    assert_error(ar__gguf_get_int(&v, g, "text", &err), AR_ERR_FORMAT, err, "made.gguf: 'text': found string, wanted integer");
    assert_error(ar__gguf_get_int(&v, g, "f32", &err), AR_ERR_FORMAT, err, "found f32, wanted integer");
    assert_error(ar__gguf_get_int(&v, g, "yes", &err), AR_ERR_FORMAT, err, "found bool, wanted integer");
    assert_error(ar__gguf_get_int(&v, g, "u64", &err), AR_ERR_FORMAT, err, "found u64, wanted an integer below 2^63");
    assert_error(ar__gguf_get_int(&v, g, "list", &err), AR_ERR_FORMAT, err, "found list of i32, wanted integer");
    assert_error(ar__gguf_get_double(&d, g, "text", &err), AR_ERR_FORMAT, err, "found string, wanted number");
    assert_error(ar__gguf_get_double(&d, g, "none", &err), AR_ERR_FORMAT, err, "found list of strings, wanted number");
    assert_error(ar__gguf_get_bool(&yes, g, "u8", &err), AR_ERR_FORMAT, err, "found u8, wanted bool");
    assert_error(ar__gguf_get_string(&s, g, "list", &err), AR_ERR_FORMAT, err, "found list of i32, wanted string");
    assert_error(ar__gguf_get_array(&kv, g, "text", AR_GGUF_STRING, &err), AR_ERR_FORMAT, err, "found string, wanted list of strings");
    assert_error(ar__gguf_get_array(&kv, g, "list", AR_GGUF_STRING, &err), AR_ERR_FORMAT, err, "found list of i32, wanted list of strings");
    assert_true(v == 5 && d == 5 && yes && !s.at && !kv);
    ar__gguf_close(g);
}

static void tensors_are_views(void **state) {
    (void)state;
    ar_error err;
    ar_gguf *g = open_ok(whole_file());
    const ar_gguf_tensor *t;
    assert_int_equal(ar__gguf_count(g), 5);
    assert_string_equal(ar__gguf_at(g, 0)->name, "w");
    assert_ok(ar__gguf_need(&t, g, "w", &err), err);
    assert_true(t->dims == 2 && t->ne[0] == 4 && t->ne[1] == 2 && t->ne[2] == 1 && t->count == 8 && t->bytes == 32);
    assert_true(t->dtype == AR_F32 && ((const unsigned char *)t->data)[0] == 64);
    assert_ok(ar__gguf_need(&t, g, "q", &err), err);
    assert_true(t->dtype == AR_Q8_0 && t->bytes == 34 && ((const unsigned char *)t->data)[33] == 33);
    t = ar__gguf_find(g, "scalar");
    assert_true(t->dims == 0 && t->count == 1 && t->bytes == 8 && t->dtype == AR_F64);
    assert_int_equal(ar__gguf_find(g, "empty")->bytes, 0);
    assert_error(ar__gguf_need(&t, g, "scalar", &err), AR_ERR_UNSUPPORTED, err, "has type F64, wanted F32");
    assert_ok(ar__gguf_need(&t, g, "k4", &err), err);
    assert_true(t->dtype == AR_Q4_K && t->bytes == 144);
    assert_error(ar__gguf_need(&t, g, "x", &err), AR_ERR_NOT_FOUND, err, "made.gguf: no tensor 'x'");
    assert_null(ar__gguf_find(g, "x"));
    ar__gguf_close(g);
}

static void every_cut_is_an_error(void **state) {
    (void)state;
    size_t n;
    char *bytes = read_file(whole_file(), &n);
    for (size_t i = 0; i < n; i++) refuse_file(temp_file("cut.gguf", bytes, i), AR_ERR_FORMAT, i < 4 ? "'GGUF'" : "it is cut short");
    refuse_file(temp_file("cut.gguf", bytes, n - 1), AR_ERR_FORMAT, "tensor 'k4' has 144 bytes from offset 128 on, file has 271 there");
    free(bytes);
}

static void other_files_and_versions_are_named(void **state) {
    (void)state;
    ar_buf b = {0};
    refuse_file(temp_text("p.gguf", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"), AR_ERR_FORMAT, "git lfs pull");
    refuse_file(temp_file("p.gguf", "\x10\0\0\0\0\0\0\0{\"a\":1}       ", 22), AR_ERR_FORMAT, "a safetensors file, wanted GGUF");
    refuse_file(temp_file("p.gguf", "PK\3\4aaaaaaaaaaaa", 16), AR_ERR_UNSUPPORTED, "pickle");
    refuse_file(temp_file("p.gguf", "", 0), AR_ERR_FORMAT, "'GGUF'");
    refuse_file(temp_path("nothing.gguf"), AR_ERR_IO, "cannot open");
    ar__buf_puts(&b, "GGUF"), put(&b, 1, 4), put(&b, 0, 8);
    refuse(&b, AR_ERR_UNSUPPORTED, "GGUF version 1, wanted 2 or 3");
    ar__buf_puts(&b, "GGUF"), put(&b, 4, 4), put(&b, 0, 16);
    refuse(&b, AR_ERR_UNSUPPORTED, "GGUF version 4, wanted 2 or 3");
    ar__buf_puts(&b, "GGUF"), put(&b, 0x03000000, 4), put(&b, 0, 16);
    refuse(&b, AR_ERR_UNSUPPORTED, "a big-endian GGUF file");
    ar__buf_puts(&b, "GGUF"), put(&b, 2, 4), put(&b, 0, 16);
    ar__gguf_close(open_ok(store(&b)));
}

/* A file of one key-value; the test adds its value. */
static ar_buf one_key(const char *name, unsigned type) {
    ar_buf b = {0};
    head(&b, 0, 1);
    key(&b, name, type);
    return b;
}

static void hostile_values_are_errors(void **state) {
    (void)state;
    ar_buf b = {0};
    head(&b, 0, UINT64_MAX);
    refuse(&b, AR_ERR_FORMAT, "key-value 1 of 18446744073709551615: needs 8 bytes from byte 24 on, file has 24");
    head(&b, UINT64_MAX, 0);
    refuse(&b, AR_ERR_FORMAT, "tensor 1 of 18446744073709551615: needs 8 bytes");
    head(&b, 0, 1), put(&b, UINT64_MAX, 8);
    refuse(&b, AR_ERR_FORMAT, "needs 18446744073709551615 bytes from byte 32 on");
    head(&b, 0, 1), put(&b, 70000, 8);
    for (int i = 0; i < 70000; i++) put(&b, 'a', 1);
    refuse(&b, AR_ERR_FORMAT, "a name of 70000 bytes, at most 65535");
    head(&b, 0, 1), put(&b, 2, 8), put(&b, 'a', 2);
    refuse(&b, AR_ERR_FORMAT, "its name is no UTF-8 text");
    b = one_key("\xc3(", 0), put(&b, 0, 1);
    refuse(&b, AR_ERR_FORMAT, "key-value 1 of 1: its name is no UTF-8 text");
    b = one_key("k", 13), put(&b, 0, 8);
    refuse(&b, AR_ERR_FORMAT, "key 'k': value type 13, there are 0 to 12");
    b = one_key("k", 7), put(&b, 2, 1);
    refuse(&b, AR_ERR_FORMAT, "key 'k': found 2, wanted a bool of 0 or 1");
    b = one_key("k", 9), put(&b, 7, 4), put(&b, 2, 8), put(&b, 0x0301, 2);
    refuse(&b, AR_ERR_FORMAT, "found 3, wanted a bool");
    b = one_key("k", 8), put(&b, 9, 8), put(&b, 0, 8);
    refuse(&b, AR_ERR_FORMAT, "key 'k': needs 9 bytes");
    b = one_key("k", 9), put(&b, 14, 4), put(&b, 0, 8);
    refuse(&b, AR_ERR_FORMAT, "value type 14");
    b = one_key("k", 9), put(&b, 5, 4), put(&b, UINT64_C(1) << 62, 8);
    refuse(&b, AR_ERR_FORMAT, "4611686018427387904 values overflow");
    b = one_key("k", 9), put(&b, 0, 4), put(&b, UINT64_MAX, 8);
    refuse(&b, AR_ERR_FORMAT, "key 'k': needs 18446744073709551615 bytes");
    b = one_key("k", 9), put(&b, 8, 4), put(&b, UINT64_MAX, 8);
    refuse(&b, AR_ERR_FORMAT, "key 'k': needs 8 bytes");
    b = one_key("k", 9);
    put(&b, 9, 4), put(&b, 1, 8), put(&b, 0, 4), put(&b, 1, 8), put(&b, 0, 1);
    refuse(&b, AR_ERR_FORMAT, "key 'k': found a list of lists, wanted a list of plain values");
    head(&b, 0, 2), key(&b, "k", 0), put(&b, 1, 1), key(&b, "k", 0), put(&b, 1, 1);
    refuse(&b, AR_ERR_FORMAT, "key 'k': stands there twice");
}

static void alignment_is_a_power_of_two(void **state) {
    (void)state;
    static const char *const name = "general.alignment";
    ar_buf b = one_key(name, 4);
    put(&b, 0, 4);
    refuse(&b, AR_ERR_FORMAT, "'general.alignment': found 0, wanted a power of two");
    b = one_key(name, 4), put(&b, 48, 4);
    refuse(&b, AR_ERR_FORMAT, "found 48, wanted a power of two");
    b = one_key(name, 10), put(&b, 32, 8);
    refuse(&b, AR_ERR_FORMAT, "'general.alignment': found u64, wanted u32");
    b = one_key(name, 9), put(&b, 4, 4), put(&b, 1, 8), put(&b, 32, 4);
    refuse(&b, AR_ERR_FORMAT, "found list of u32, wanted u32");
    for (uint32_t align = 1; align; align <<= 1) {
        head(&b, 1, 1), key(&b, name, 4), put(&b, align, 4);
        info(&b, "t", 1, (uint64_t[]){4}, 24, align < 4096 ? align : 0);
        pad(&b, align < 4096 ? align : 1), put(&b, 0, align < 4096 ? (int)align : 0), put(&b, 0x04030201, 4);
        if (align < 4096) {
            ar_gguf *g = open_ok(store(&b));
            assert_memory_equal(ar__gguf_find(g, "t")->data, "\1\2\3\4", 4);
            ar__gguf_close(g);
        } else {
            refuse(&b, AR_ERR_FORMAT, "tensor 't' has 4 bytes from offset 0 on, file has 0 there");
        }
    }
}

static ar_buf one_tensor(int dims, const uint64_t *ne, unsigned type, uint64_t offset) {
    ar_buf b = {0};
    head(&b, 1, 0);
    info(&b, "t", dims, ne, type, offset);
    pad(&b, 32);
    put(&b, 0, 64);
    return b;
}

static void hostile_tensors_are_errors(void **state) {
    (void)state;
    static const uint64_t small[] = {8, 1, 1, 1, 1}, half[] = {UINT64_C(1) << 32, UINT64_C(1) << 32}, top[] = {UINT64_MAX};
    static const uint64_t odd[] = {48, 2}, large[] = {INT64_MAX - 31, 1}, zero[] = {0};
    ar_buf b;
    b = one_tensor(5, small, 0, 0), refuse(&b, AR_ERR_FORMAT, "tensor 't': 5 dimensions, at most 4");
    b = one_tensor(2, half, 0, 0), refuse(&b, AR_ERR_FORMAT, "tensor 't': its size overflows");
    b = one_tensor(1, top, 0, 0), refuse(&b, AR_ERR_FORMAT, "tensor 't': impossible size 18446744073709551615");
    b = one_tensor(2, large, 28, 0), refuse(&b, AR_ERR_FORMAT, "tensor 't': its size overflows");
    b = one_tensor(2, odd, 8, 0), refuse(&b, AR_ERR_FORMAT, "tensor 't': rows of 48, wanted a multiple of 32 for Q8_0");
    b = one_tensor(0, NULL, 8, 0), refuse(&b, AR_ERR_FORMAT, "rows of 1, wanted a multiple of 32 for Q8_0");
    b = one_tensor(1, small, 0, 8), refuse(&b, AR_ERR_FORMAT, "tensor 't' begins at offset 8, wanted a multiple of 32");
    b = one_tensor(1, small, 0, 64), refuse(&b, AR_ERR_FORMAT, "tensor 't' has 32 bytes from offset 64 on, file has 64 there");
    b = one_tensor(1, zero, 0, 96), refuse(&b, AR_ERR_FORMAT, "tensor 't' has 0 bytes from offset 96 on, file has 64 there");
    b = one_tensor(1, small, 0, UINT64_MAX - 31), refuse(&b, AR_ERR_FORMAT, "from offset 18446744073709551584 on");
    b = (ar_buf){0}, head(&b, 2, 0), info(&b, "t", 1, small, 0, 0), info(&b, "t", 1, small, 0, 32), pad(&b, 32), put(&b, 0, 64);
    refuse(&b, AR_ERR_FORMAT, "tensor 't': stands there twice");
    head(&b, 2, 0), info(&b, "a", 1, (uint64_t[]){9}, 0, 0), info(&b, "b", 1, small, 0, 32), pad(&b, 32), put(&b, 0, 64);
    refuse(&b, AR_ERR_FORMAT, "tensor 'b' begins at offset 32, inside 'a' which ends at 36");
    head(&b, 2, 0), info(&b, "b", 1, small, 0, 0), info(&b, "a", 1, small, 0, 0), pad(&b, 32), put(&b, 0, 64);
    refuse(&b, AR_ERR_FORMAT, "inside 'a' which ends at 32");
}

/* Types without a known size reach to the next tensor, whatever the order of the infos; they are carried, not read. */
static void types_without_a_size_go_by_offsets(void **state) {
    (void)state;
    static const unsigned types[] = {4, 5, 31, 32, 33, 36, 37, 38, 43, 100, UINT32_MAX};
    static const char *const names[] = {"Q4_2", "Q4_3", "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        ar_error err;
        ar_buf b = {0};
        const ar_gguf_tensor *t;
        head(&b, 4, 0);
        info(&b, "last", 2, (uint64_t[]){5, 3}, types[i], 128), info(&b, "after", 1, (uint64_t[]){8}, 0, 96);
        info(&b, "odd", 1, (uint64_t[]){77}, types[i], 0), info(&b, "none", 1, (uint64_t[]){0}, types[i], 96);
        pad(&b, 32), put(&b, 0x0102, 160), put(&b, 7, 8);
        ar_gguf *g = open_ok(store(&b));
        t = ar__gguf_find(g, "odd");
        assert_true(t->count == 77 && t->bytes == 96 && t->padded_to == 32 && t->dtype == AR_DTYPE_COUNT);
        if (i < sizeof names / sizeof *names) assert_string_equal(t->type_name, names[i]);
        if (types[i] == 43) assert_string_equal(t->type_name, "type 43");
        assert_true(ar__gguf_find(g, "last")->bytes == 40 && ar__gguf_find(g, "none")->bytes == 0);
        assert_error(ar__gguf_need(&t, g, "odd", &err), AR_ERR_UNSUPPORTED, err, "tensor 'odd' has type");
        assert_ok(ar__gguf_need(&t, g, "after", &err), err);

        ar_gguf_writer *w;
        assert_ok(ar__gguf_writer_new(&w, &err), err);
        for (int k = 0; k < 3; k++) assert_ok(ar__gguf_writer_copy(w, ar__gguf_at(g, k), &err), err);
        assert_ok(ar__gguf_writer_save(w, temp_path("carried.gguf"), &err), err);
        ar__gguf_writer_free(w);
        ar_gguf *back = open_ok(temp_path("carried.gguf"));
        t = ar__gguf_find(back, "odd");
        assert_true(t->bytes == 96 && t->type == types[i] && !memcmp(t->data, ar__gguf_find(g, "odd")->data, 96));
        ar__gguf_close(back);
        ar__gguf_close(g);
    }
}

/* Where a file pads to more than the writer, nobody can say where an unknown type's bytes end. */
static void wider_padding_of_an_unknown_type_is_refused(void **state) {
    (void)state;
    ar_error err;
    ar_buf b = {0};
    ar_gguf_writer *w;
    head(&b, 1, 1), key(&b, "general.alignment", 4), put(&b, 64, 4);
    info(&b, "t", 1, (uint64_t[]){8}, 200, 0), pad(&b, 64), put(&b, 0, 64);
    ar_gguf *g = open_ok(store(&b));
    assert_ok(ar__gguf_writer_new(&w, &err), err);
    assert_error(ar__gguf_writer_copy(w, ar__gguf_at(g, 0), &err), AR_ERR_UNSUPPORTED, err, "tensor 't': type 200");
    ar__gguf_writer_free(w);
    ar__gguf_close(g);
}

/* A tensor behind 4 GiB, in a file with a hole. */
static void offsets_past_4_gib_are_read(void **state) {
    (void)state;
    uint64_t first = UINT64_C(4) << 30;
    ar_error err;
    ar_buf b = {0};
    head(&b, 2, 0);
    info(&b, "big", 1, (uint64_t[]){first}, 24, 0), info(&b, "t", 1, (uint64_t[]){4}, 24, first);
    pad(&b, 32);
    ar_writer w;
    assert_ok(ar__writer_open(&w, temp_path("big.gguf"), &err), err);
    assert_ok(ar__writer_put(&w, b.data, b.len, &err), err);
    if (lseek(w.fd, (off_t)first, SEEK_CUR) < 0) skip();
    assert_ok(ar__writer_put(&w, "\1\2\3\4", 4, &err), err);
    assert_ok(ar__writer_commit(&w, &err), err);
    ar__buf_release(&b);
    ar_gguf *g = open_ok(temp_path("big.gguf"));
    assert_memory_equal(ar__gguf_find(g, "t")->data, "\1\2\3\4", 4);
    assert_true(ar__gguf_find(g, "big")->bytes == first);
    ar__gguf_close(g);
    unlink(temp_path("big.gguf"));
}

static ar_status stream_ones(void *user, ar_writer *w, ar_error *err) {
    const size_t *n = user;
    ar_status s = AR_OK;
    for (size_t i = 0; i < *n && !s; i++) s = ar__writer_put(w, "\1", 1, err);
    return s;
}

static ar_status stream_fails(void *user, ar_writer *w, ar_error *err) {
    (void)user, (void)w;
    if (err) *err = (ar_error){AR_ERR_NUMERIC, "made to fail"};
    return AR_ERR_NUMERIC;
}

static void what_is_written_is_read(void **state) {
    (void)state;
    static const char *const words[] = {"a", "", "\xc3\xa9"};
    static const float data[] = {1, 2, 3, 4, 5, 6};
    ar_error err;
    ar_gguf_writer *w;
    size_t ones = 10;
    int64_t v = 0;
    double d = 0;
    bool yes = false;
    ar_gguf_string s;
    assert_ok(ar__gguf_writer_new(&w, &err), err);
    assert_ok(ar__gguf_writer_set_string(w, "general.type", "model", &err), err);
    assert_ok(ar__gguf_writer_set_u32(w, "u32", UINT32_MAX, &err), err);
    assert_ok(ar__gguf_writer_set_i32(w, "i32", -5, &err), err);
    assert_ok(ar__gguf_writer_set_u64(w, "u64", UINT64_C(1) << 40, &err), err);
    assert_ok(ar__gguf_writer_set_f32(w, "f32", 0.25f, &err), err);
    assert_ok(ar__gguf_writer_set_f64(w, "f64", 0.1, &err), err);
    assert_ok(ar__gguf_writer_set_bool(w, "bool", true, &err), err);
    assert_ok(ar__gguf_writer_set_strings(w, "words", words, 3, &err), err);
    assert_ok(ar__gguf_writer_set_string(w, "general.type", "adapter", &err), err); /* replaces */
    assert_ok(ar__gguf_writer_add_stream(w, "ones", AR_I8, 1, (int64_t[]){10}, stream_ones, &ones, &err), err);
    assert_ok(ar__gguf_writer_add(w, "m", AR_F32, 2, (int64_t[]){3, 2}, data, &err), err);
    assert_ok(ar__gguf_writer_save(w, temp_path("w.gguf"), &err), err);
    ar__gguf_writer_free(w);

    ar_gguf *g = open_ok(temp_path("w.gguf"));
    assert_int_equal(ar__gguf_kv_count(g), 8);
    assert_string_equal(ar__gguf_kv_at(g, 0)->key, "general.type");
    assert_ok(ar__gguf_get_string(&s, g, "general.type", &err), err);
    assert_true(ar__gguf_string_is(s, "adapter"));
    assert_true(!ar__gguf_get_int(&v, g, "u32", &err) && v == UINT32_MAX);
    assert_true(!ar__gguf_get_int(&v, g, "i32", &err) && v == -5);
    assert_true(!ar__gguf_get_int(&v, g, "u64", &err) && v == INT64_C(1) << 40);
    assert_true(!ar__gguf_get_double(&d, g, "f32", &err) && d == 0.25);
    assert_true(!ar__gguf_get_double(&d, g, "f64", &err) && d == 0.1);
    assert_true(!ar__gguf_get_bool(&yes, g, "bool", &err) && yes);
    for (size_t i = 0; i < 3; i++) {
        assert_true(ar__gguf_string_at(&s, ar__gguf_kv_find(g, "words"), i));
        assert_true(ar__gguf_string_is(s, words[i]));
    }
    const ar_gguf_tensor *t = ar__gguf_find(g, "m");
    assert_memory_equal(t->data, data, sizeof data);
    assert_true(t->offset == 32 && t->ne[0] == 3 && t->ne[1] == 2);
    assert_memory_equal(ar__gguf_find(g, "ones")->data, "\1\1\1\1\1\1\1\1\1\1", 10);
    ar__gguf_close(g);
}

/* The same key-values and tensors, whatever their types, byte for byte. */
static void copy_file(const char *from, const char *to) {
    ar_error err;
    ar_gguf *g = open_ok(from);
    ar_gguf_writer *w;
    assert_ok(ar__gguf_writer_new(&w, &err), err);
    for (int i = 0; i < ar__gguf_kv_count(g); i++) assert_ok(ar__gguf_writer_copy_kv(w, ar__gguf_kv_at(g, i), &err), err);
    for (int i = 0; i < ar__gguf_count(g); i++) assert_ok(ar__gguf_writer_copy(w, ar__gguf_at(g, i), &err), err);
    assert_ok(ar__gguf_writer_save(w, to, &err), err);
    ar__gguf_writer_free(w);
    ar__gguf_close(g);
}

static void copies_are_equal(void **state) {
    (void)state;
    copy_file(whole_file(), temp_path("copy.gguf"));
    ar_gguf *a = open_ok(whole_file()), *b = open_ok(temp_path("copy.gguf"));
    assert_int_equal(ar__gguf_kv_count(b), ar__gguf_kv_count(a));
    assert_int_equal(ar__gguf_count(b), ar__gguf_count(a));
    for (int i = 0; i < ar__gguf_kv_count(a); i++) {
        const ar_gguf_kv *x = ar__gguf_kv_at(a, i), *y = ar__gguf_kv_at(b, i);
        assert_string_equal(x->key, y->key);
        assert_int_equal(x->raw_bytes, y->raw_bytes);
        assert_memory_equal(x->raw, y->raw, x->raw_bytes);
    }
    for (int i = 0; i < ar__gguf_count(a); i++) {
        const ar_gguf_tensor *x = ar__gguf_at(a, i), *y = ar__gguf_at(b, i);
        assert_string_equal(x->name, y->name);
        assert_true(x->type == y->type && x->bytes == y->bytes && x->ne[0] == y->ne[0]);
        if (x->bytes) assert_memory_equal(x->data, y->data, x->bytes);
    }
    ar__gguf_close(a);
    ar__gguf_close(b);
}

static void copied_alignment_is_dropped(void **state) {
    (void)state;
    ar_buf b = {0};
    head(&b, 1, 1), key(&b, "general.alignment", 4), put(&b, 8, 4), info(&b, "t", 1, (uint64_t[]){4}, 24, 8);
    pad(&b, 8), put(&b, 0, 8), put(&b, 0x04030201, 4);
    copy_file(store(&b), temp_path("copy.gguf"));
    ar_gguf *g = open_ok(temp_path("copy.gguf"));
    assert_int_equal(ar__gguf_kv_count(g), 0);
    assert_memory_equal(ar__gguf_find(g, "t")->data, "\1\2\3\4", 4);
    ar__gguf_close(g);
}

static void writer_refuses(void **state) {
    (void)state;
    static const char longest[] = "0123456789012345678901234567890123456789012345678901234567890123";
    static const char *const bad[] = {"ok", "\xff"};
    static const float data[64] = {0};
    const int64_t one[] = {1}, row[] = {48}, huge[] = {INT64_MAX, 4}, minus[] = {-1};
    ar_error err;
    ar_gguf_writer *w;
    assert_ok(ar__gguf_writer_new(&w, &err), err);
    assert_error(ar__gguf_writer_set_u32(w, "general.alignment", 64, &err), AR_ERR_VALUE, err, "files are written with 32");
    assert_error(ar__gguf_writer_set_u32(w, "\xff", 64, &err), AR_ERR_VALUE, err, "wanted UTF-8");
    assert_error(ar__gguf_writer_set_string(w, "k", "\xff", &err), AR_ERR_VALUE, err, "key 'k': wanted UTF-8 text");
    assert_error(ar__gguf_writer_set_strings(w, "k", bad, 2, &err), AR_ERR_VALUE, err, "key 'k': wanted UTF-8 text");
    assert_ok(ar__gguf_writer_add(w, longest + 1, AR_F32, 1, one, data, &err), err);
    assert_error(ar__gguf_writer_add(w, longest, AR_F32, 1, one, data, &err), AR_ERR_VALUE, err, "a name of 64 bytes");
    assert_error(ar__gguf_writer_add(w, "", AR_F32, 1, one, data, &err), AR_ERR_VALUE, err, "a name of 0 bytes");
    assert_error(ar__gguf_writer_add(w, longest + 1, AR_F32, 1, one, data, &err), AR_ERR_VALUE, err, "the name is taken");
    assert_error(ar__gguf_writer_add(w, "\xff", AR_F32, 1, one, data, &err), AR_ERR_VALUE, err, "UTF-8");
    assert_error(ar__gguf_writer_add(w, "t", AR_U8, 1, one, data, &err), AR_ERR_VALUE, err, "GGUF has no type for u8");
    assert_error(ar__gguf_writer_add(w, "t", AR_F32, 0, one, data, &err), AR_ERR_VALUE, err, "0 dimensions, GGUF has 1 to 4");
    assert_error(ar__gguf_writer_add(w, "t", AR_Q8_0, 1, row, data, &err), AR_ERR_VALUE, err, "rows of 48 that are no multiple of 32");
    assert_error(ar__gguf_writer_add(w, "t", AR_F32, 2, huge, data, &err), AR_ERR_VALUE, err, "impossible shape");
    assert_error(ar__gguf_writer_add(w, "t", AR_F32, 1, minus, data, &err), AR_ERR_VALUE, err, "impossible shape");
    assert_ok(ar__gguf_writer_add_stream(w, "t", AR_F32, 1, one, stream_fails, NULL, &err), err);
    assert_error(ar__gguf_writer_save(w, temp_path("failed.gguf"), &err), AR_ERR_NUMERIC, err, "made to fail");
    assert_false(file_exists(temp_path("failed.gguf")));
    ar__gguf_writer_free(w);
    ar__gguf_writer_free(NULL);
}

/* Names that ggml would not take are read all the same; writing them again is refused. */
static void long_names_are_read(void **state) {
    (void)state;
    char name[101];
    ar_error err;
    ar_gguf_writer *w;
    ar_buf b = {0};
    memset(name, 'n', 100);
    name[100] = '\0';
    head(&b, 1, 0), info(&b, name, 1, (uint64_t[]){4}, 24, 0), pad(&b, 32), put(&b, 0, 4);
    ar_gguf *g = open_ok(store(&b));
    assert_non_null(ar__gguf_find(g, name));
    assert_ok(ar__gguf_writer_new(&w, &err), err);
    assert_error(ar__gguf_writer_copy(w, ar__gguf_at(g, 0), &err), AR_ERR_VALUE, err, "a name of 100 bytes");
    ar__gguf_writer_free(w);
    ar__gguf_close(g);
}

static void types_map_both_ways(void **state) {
    (void)state;
    static const ar_dtype both[] = {AR_F32, AR_F16, AR_BF16, AR_F64, AR_I64, AR_I32, AR_I16, AR_I8, AR_Q8_0};
    uint32_t type;
    for (size_t i = 0; i < sizeof both / sizeof *both; i++) {
        assert_true(ar__ggml_type_of(&type, both[i]));
        ar_ggml_type t = ar__ggml_type(type);
        assert_true(t.dtype == both[i] && t.block == ar__dtype(both[i])->block && t.bytes == ar__dtype(both[i])->bytes);
    }
    assert_false(ar__ggml_type_of(&type, AR_U8) || ar__ggml_type_of(&type, AR_BOOL) || ar__ggml_type_of(&type, AR_DTYPE_COUNT));
}

static void real_files_are_read_and_copied(void **state) {
    (void)state;
    static const char *const vocabs[] = {"falcon", "gpt-2", "gpt-neox", "mpt", "phi-3", "starcoder"};
    static const int tokens[] = {65024, 50257, 50432, 50432, 32064, 49152};
    ar_error err;
    size_t n, m;
    const char *path = material("models/stories260k/stories260K.gguf");
    copy_file(path, temp_path("copy.gguf"));
    char *a = read_file(path, &n), *b = read_file(temp_path("copy.gguf"), &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
    for (size_t i = 0; i < sizeof vocabs / sizeof *vocabs; i++) {
        char name[64];
        const ar_gguf_kv *kv = NULL;
        ar_gguf_string s = {0};
        snprintf(name, sizeof name, "conformance/vocab/ggml-vocab-%s.gguf", vocabs[i]);
        ar_gguf *g = open_ok(material(name));
        assert_ok(ar__gguf_get_array(&kv, g, "tokenizer.ggml.tokens", AR_GGUF_STRING, &err), err);
        assert_int_equal(kv->count, tokens[i]);
        assert_true(ar__gguf_string_at(&s, kv, kv->count - 1) && s.len > 0 && s.len < 100);
        assert_int_equal(ar__gguf_count(g), 0);
        ar__gguf_close(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_type_are_read),
        cmocka_unit_test(lists_are_read_by_index),
        cmocka_unit_test(other_types_are_named),
        cmocka_unit_test(tensors_are_views),
        cmocka_unit_test(every_cut_is_an_error),
        cmocka_unit_test(other_files_and_versions_are_named),
        cmocka_unit_test(hostile_values_are_errors),
        cmocka_unit_test(alignment_is_a_power_of_two),
        cmocka_unit_test(hostile_tensors_are_errors),
        cmocka_unit_test(types_without_a_size_go_by_offsets),
        cmocka_unit_test(wider_padding_of_an_unknown_type_is_refused),
        cmocka_unit_test(offsets_past_4_gib_are_read),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(copies_are_equal),
        cmocka_unit_test(copied_alignment_is_dropped),
        cmocka_unit_test(writer_refuses),
        cmocka_unit_test(long_names_are_read),
        cmocka_unit_test(types_map_both_ways),
        cmocka_unit_test(real_files_are_read_and_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
