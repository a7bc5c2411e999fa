/* The .npz reader on archives made by hand, most of them broken. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/file.h"
#include "format/npz.h"
#include "util.h"

static void put(ar_buf *b, uint64_t v, size_t bytes) {
    unsigned char le[8];
    ar__le_store(le, v, bytes);
    ar__buf_add(b, le, bytes);
}

/* One entry of an archive; `lie` changes what the table of contents says. */
struct entry {
    const char *name;
    ar_buf bytes;
    unsigned method, flags;
    bool zip64;
    int64_t lie_bytes, lie_unpacked, lie_offset;
};

static const char *make_zip(struct entry *e, size_t count, bool end64) {
    ar_buf b = {0}, dir = {0};
    for (size_t i = 0; i < count; i++) {
        size_t at = b.len, n = strlen(e[i].name), size = e[i].bytes.len;
        bool wide = e[i].zip64;
        ar__buf_add(&b, "PK\3\4", 4);
        put(&b, 20, 2), put(&b, e[i].flags, 2), put(&b, e[i].method, 2), put(&b, 0, 8);
        put(&b, wide ? UINT32_MAX : size, 4), put(&b, wide ? UINT32_MAX : size, 4), put(&b, n, 2), put(&b, wide ? 20 : 3, 2);
        ar__buf_add(&b, e[i].name, n);
        put(&b, 0, wide ? 8 : 3);
        if (wide) put(&b, 0, 8), put(&b, 0, 4);
        if (size) ar__buf_add(&b, e[i].bytes.data, size);
        ar__buf_add(&dir, "PK\1\2", 4);
        put(&dir, 20, 4), put(&dir, e[i].flags, 2), put(&dir, e[i].method, 2), put(&dir, 0, 8);
        uint64_t packed = size + (uint64_t)e[i].lie_bytes, unpacked = size + (uint64_t)e[i].lie_unpacked,
                 offset = at + (uint64_t)e[i].lie_offset;
        put(&dir, wide ? UINT32_MAX : packed, 4), put(&dir, wide ? UINT32_MAX : unpacked, 4), put(&dir, n, 2), put(&dir, wide ? 32 : 0, 2);
        put(&dir, 0, 2), put(&dir, 0, 8), put(&dir, wide ? UINT32_MAX : offset, 4);
        ar__buf_add(&dir, e[i].name, n);
        if (wide) put(&dir, 7, 2), put(&dir, 0, 2), put(&dir, 1, 2), put(&dir, 24, 2), put(&dir, unpacked, 8), put(&dir, packed, 8);
        if (wide) put(&dir, offset, 8);
        ar__buf_release(&e[i].bytes);
    }
    size_t begin = b.len, end = begin + dir.len;
    ar__buf_add(&b, dir.data, dir.len);
    if (end64) {
        ar__buf_add(&b, "PK\6\6", 4), put(&b, 44, 8), put(&b, 0, 4), put(&b, 0, 8), put(&b, count, 8), put(&b, count, 8);
        put(&b, dir.len, 8), put(&b, begin, 8);
        ar__buf_add(&b, "PK\6\7", 4), put(&b, 0, 4), put(&b, end, 8), put(&b, 1, 4);
    }
    ar__buf_add(&b, "PK\5\6", 4), put(&b, 0, 4), put(&b, count, 2), put(&b, count, 2);
    put(&b, end64 ? UINT32_MAX : dir.len, 4), put(&b, end64 ? UINT32_MAX : begin, 4), put(&b, 0, 2);
    const char *path = temp_file("made.npz", b.data, b.len);
    ar__buf_release(&b);
    ar__buf_release(&dir);
    return path;
}

/* .npy of that version and header, with data bytes 1, 2, 3, … */
static ar_buf npy(int version, const char *header, size_t data) {
    ar_buf b = {0};
    ar__buf_puts(&b, "\x93NUMPY");
    put(&b, (uint64_t)version, 2);
    put(&b, strlen(header), version == 1 ? 2 : 4);
    ar__buf_puts(&b, header);
    for (size_t i = 1; i <= data; i++) put(&b, i, 1);
    return b;
}

static ar_npz *open_ok(const char *path) {
    ar_error err;
    ar_npz *z;
    assert_ok(ar__npz_open(&z, path, &err), err);
    return z;
}

static void refuse_file(const char *path, ar_status status, const char *part) {
    ar_error err;
    ar_npz *z;
    assert_error(ar__npz_open(&z, path, &err), status, err, part);
    assert_null(z);
}

static void refuse_entry(struct entry e, ar_status status, const char *part) { refuse_file(make_zip(&e, 1, false), status, part); }

static void refuse_header(const char *header, size_t data, ar_status status, const char *part) {
    refuse_entry((struct entry){.name = "a.npy", .bytes = npy(1, header, data)}, status, part);
}

#define HEADER(descr, fortran, shape) "{'descr': '" descr "', 'fortran_order': " fortran ", 'shape': " shape ", }     \n"
#define PLAIN HEADER("<f4", "False", "(2, 3)")

/* As NumPy writes arrays, and as MLX does: other spaces, `(2, 3, )`, and Fortran's order where there is only one. */
static const char *whole_file(bool end64) {
    struct entry e[] = {
        {.name = "model.layers.0.lora_a.npy", .bytes = npy(1, "{'descr': '<V2', 'fortran_order': False, 'shape': (2, 3, )}    \n", 12)},
        {.name = "v.npy", .bytes = npy(1, "{'descr': '<f2', 'fortran_order': True, 'shape': (5, )}  \n", 10), .zip64 = true},
        {.name = "s.npy", .bytes = npy(2, HEADER("<f4", "True", "()"), 4)},
        {.name = "m.npy", .bytes = npy(3, PLAIN, 24), .zip64 = true},
        {.name = "i.npy", .bytes = npy(1, "{\"shape\":(1,0,3),\"descr\":\"<i8\",\"fortran_order\":True}", 0)},
        {.name = "u.npy", .bytes = npy(1, HEADER("<u4", "True", "(1, 2, 1)"), 8)},
        {.name = "b.npy", .bytes = npy(1, HEADER("|b1", "False", "(2,)"), 2)},
        {.name = "d.npy", .bytes = npy(1, HEADER("<f8", "False", "(1,)"), 8)},
    };
    return make_zip(e, sizeof e / sizeof *e, end64);
}

static void check_whole(const char *path) {
    static const struct {
        const char *name;
        ar_dtype dtype;
        int dims;
        size_t bytes;
    } wanted[] = {{"model.layers.0.lora_a", AR_BF16, 2, 12},
                  {"v", AR_F16, 1, 10},
                  {"s", AR_F32, 0, 4},
                  {"m", AR_F32, 2, 24},
                  {"i", AR_I64, 3, 0},
                  {"u", AR_DTYPE_COUNT, 3, 8},
                  {"b", AR_BOOL, 1, 2},
                  {"d", AR_F64, 1, 8}};
    ar_error err;
    ar_npz *z = open_ok(path);
    const ar_npz_array *a;
    assert_int_equal(ar__npz_count(z), 8);
    for (int i = 0; i < 8; i++) {
        a = ar__npz_at(z, i);
        assert_string_equal(a->name, wanted[i].name);
        assert_ptr_equal(a, ar__npz_find(z, a->name));
        assert_true(a->dtype == wanted[i].dtype && a->dims == wanted[i].dims && a->bytes == wanted[i].bytes);
        for (size_t k = 0; k < a->bytes; k++) assert_int_equal(((const unsigned char *)a->data)[k], k + 1);
    }
    assert_ok(ar__npz_need(&a, z, "m", &err), err);
    assert_true(a->shape[0] == 2 && a->shape[1] == 3 && a->count == 6);
    assert_error(ar__npz_need(&a, z, "u", &err), AR_ERR_UNSUPPORTED, err, "made.npz: array 'u' has type '<u4', wanted '<f4'");
    assert_error(ar__npz_need(&a, z, "d", &err), AR_ERR_UNSUPPORTED, err, "has type '<f8'");
    assert_error(ar__npz_need(&a, z, "x", &err), AR_ERR_NOT_FOUND, err, "made.npz: no array 'x'");
    ar__npz_close(z);
}

static void whole_files_are_read(void **state) {
    (void)state;
    check_whole(whole_file(false));
    check_whole(whole_file(true));
    ar__npz_close(open_ok(make_zip(NULL, 0, false)));
    ar__npz_close(NULL);
}

static void every_cut_is_an_error(void **state) {
    (void)state;
    for (int end64 = 0; end64 < 2; end64++) {
        size_t n;
        char *bytes = read_file(whole_file(end64), &n);
        for (size_t i = 0; i < n; i++) { /* before the first name is whole, nothing tells it from a pickle */
            bool named = i >= strlen("....") + 26 + strlen("model.layers.0.lora_a.npy"), zip = i >= 4;
            refuse_file(temp_file("cut.npz", bytes, i), named || !zip ? AR_ERR_FORMAT : AR_ERR_UNSUPPORTED,
                        named ? "no end of a zip archive" : "");
        }
        free(bytes);
    }
}

/* Whatever byte is changed, nothing but a status may come of it (the sanitizers watch). */
static void changed_bytes_do_no_harm(void **state) {
    (void)state;
    size_t n;
    char *bytes = read_file(whole_file(true), &n);
    for (size_t i = 0; i < n; i++) {
        char old = bytes[i];
        for (int k = 0; k < 3; k++) {
            ar_npz *z;
            bytes[i] = (char)(k == 0 ? 0xff : k == 1 ? old + 1 : 0);
            ar__npz_open(&z, temp_file("changed.npz", bytes, n), NULL);
            ar__npz_close(z);
        }
        bytes[i] = old;
    }
    free(bytes);
}

static void other_files_are_named(void **state) {
    (void)state;
    struct entry pickle = {.name = "archive/data.pkl"}, late[] = {{.name = "a.npy", .bytes = npy(1, PLAIN, 24)}, {.name = "b.txt"}};
    refuse_file(temp_text("p.npz", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"), AR_ERR_FORMAT, "git lfs pull");
    refuse_file(temp_file("p.npz", "GGUF\3\0\0\0aaaaaaaa", 16), AR_ERR_FORMAT, "GGUF file, wanted npz");
    refuse_file(temp_file("p.npz", "", 0), AR_ERR_FORMAT, "no zip archive");
    refuse_file(temp_path("nothing.npz"), AR_ERR_IO, "cannot open");
    refuse_entry(pickle, AR_ERR_UNSUPPORTED, "pickle");
    refuse_file(make_zip(late, 2, false), AR_ERR_FORMAT, "made.npz: entry 'b.txt' is no .npy array");
}

static void bad_entries_are_errors(void **state) {
    (void)state;
    struct entry twice[] = {{.name = "a.npy", .bytes = npy(1, PLAIN, 24)}, {.name = "a.npy", .bytes = npy(1, PLAIN, 24)}};
    refuse_file(make_zip(twice, 2, false), AR_ERR_FORMAT, "made.npz: array 'a': stands there twice");
    refuse_entry((struct entry){.name = "a.npy", .bytes = npy(1, PLAIN, 24), .method = 8}, AR_ERR_UNSUPPORTED,
                 "entry 'a.npy' is compressed, wanted plain arrays: load the file and save it again with numpy.savez");
    refuse_entry((struct entry){.name = "a.npy", .bytes = npy(1, PLAIN, 24), .flags = 1}, AR_ERR_UNSUPPORTED, "is encrypted");
    refuse_entry((struct entry){.name = "a\xff.npy", .bytes = npy(1, PLAIN, 24)}, AR_ERR_FORMAT, "an entry's name is no UTF-8");
    refuse_entry((struct entry){.name = "a.npy", .bytes = npy(1, PLAIN, 24), .lie_unpacked = 1}, AR_ERR_FORMAT,
                 "has two sizes, 99 and 100");
    refuse_entry((struct entry){.name = "a.npy", .bytes = npy(1, PLAIN, 24), .lie_bytes = 100}, AR_ERR_FORMAT, "past the end of the data");
    refuse_entry((struct entry){.name = "a.npy", .bytes = npy(1, PLAIN, 24), .lie_offset = 1}, AR_ERR_FORMAT, "entry's header is missing");
    refuse_entry((struct entry){.name = "a.npy", .bytes = npy(1, PLAIN, 24), .lie_offset = INT64_MAX, .zip64 = true}, AR_ERR_FORMAT,
                 "entry's header is missing");
    refuse_entry((struct entry){.name = "a.npy", .bytes = npy(1, PLAIN, 24), .lie_bytes = -200, .zip64 = true}, AR_ERR_FORMAT,
                 "past the end of the data");
    refuse_entry((struct entry){.name = "a.npy"}, AR_ERR_FORMAT, "array 'a': no .npy array");
    refuse_entry((struct entry){.name = "a.npy", .bytes = npy(4, PLAIN, 24)}, AR_ERR_UNSUPPORTED, ".npy version 4, wanted 1, 2 or 3");
    refuse_entry((struct entry){.name = "a.npy", .bytes = npy(0, PLAIN, 24)}, AR_ERR_UNSUPPORTED, ".npy version 0");
    ar_buf cut = npy(2, PLAIN, 24);
    cut.len = 11;
    refuse_entry((struct entry){.name = "a.npy", .bytes = cut}, AR_ERR_FORMAT, "its header ends outside of it");
    cut = npy(2, PLAIN, 24);
    ar__le_store(cut.data + 8, UINT32_MAX, 4);
    refuse_entry((struct entry){.name = "a.npy", .bytes = cut}, AR_ERR_FORMAT, "its header ends outside of it");
}

static void bad_headers_are_errors(void **state) {
    (void)state;
    static const char *const broken[] = {
        "",
        "{",
        "{}",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}",
        "{'descr': '<f4', 'other': 1, 'fortran_order': False, 'shape': ()}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': ()}",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}",
        "{'descr': '<f4<f4<f4', 'fortran_order': False, 'shape': ()}",
        "{'descr': '<f4, 'fortran_order': False, 'shape': ()}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': ()} x",
        "{'descr': '<f4' 'fortran_order': False, 'shape': ()}",
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        refuse_header(broken[i], 4, AR_ERR_FORMAT, "made.npz: array 'a': .npy header: wanted ");
    refuse_header(HEADER("<f4", "False", "(4294967296, 4294967296)"), 4, AR_ERR_FORMAT, "its shape overflows");
    refuse_header(HEADER("<f4", "False", "(9223372036854775807,)"), 4, AR_ERR_FORMAT, "its shape overflows");
    refuse_header(HEADER("<f4", "False", "(2,)"), 7, AR_ERR_FORMAT, "7 bytes of data, its shape wants 8 of '<f4'");
    refuse_header(HEADER("<f4", "False", "(2,)"), 9, AR_ERR_FORMAT, "9 bytes of data, its shape wants 8 of '<f4'");
    refuse_header(HEADER(">f4", "False", "(2,)"), 8, AR_ERR_UNSUPPORTED, "big-endian numbers ('>f4')");
    refuse_header(HEADER("|O", "False", "(2,)"), 8, AR_ERR_UNSUPPORTED, "elements of type '|O'");
    refuse_header(HEADER("<U1", "False", "(2,)"), 8, AR_ERR_UNSUPPORTED, "elements of type '<U1'");
    refuse_header(HEADER("<V4", "False", "(2,)"), 8, AR_ERR_UNSUPPORTED, "elements of type '<V4'");
    refuse_header(HEADER("<f4", "True", "(2, 3)"), 24, AR_ERR_UNSUPPORTED, "array 'a': stored in Fortran order, wanted C order");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_files_are_read),  cmocka_unit_test(every_cut_is_an_error),  cmocka_unit_test(changed_bytes_do_no_harm),
        cmocka_unit_test(other_files_are_named), cmocka_unit_test(bad_entries_are_errors), cmocka_unit_test(bad_headers_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
