/* The safetensors reader on files made by hand, most of them broken, and the writer on its own output. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "format/safetensors.h"
#include "util.h"

/* A file with this header, `data` bytes 0, 1, 2, … behind it; length: what the file claims, 0 for the truth. */
static const char *make(const char *name, const char *header, size_t data, uint64_t length) {
    ar_buf b = {0};
    uint64_t n = length ? length : strlen(header);
    for (int i = 0; i < 8; i++) ar__buf_add(&b, &(unsigned char){(unsigned char)(n >> (8 * i))}, 1);
    ar__buf_puts(&b, header);
    for (size_t i = 0; i < data; i++) ar__buf_add(&b, &(unsigned char){(unsigned char)i}, 1);
    const char *path = temp_file(name, b.data, b.len);
    ar__buf_release(&b);
    return path;
}

static void refuse(const char *path, ar_status status, const char *part) {
    ar_error err;
    ar_st_set *st;
    assert_error(ar__st_open(&st, path, &err), status, err, part);
    assert_null(st);
}

static void refuse_header(const char *header, size_t data, const char *part) {
    refuse(make("bad.safetensors", header, data, 0), AR_ERR_FORMAT, part);
}

static void whole_file_is_read(void **state) {
    (void)state;
    ar_error err;
    ar_st_set *st;
    const ar_tensor *t;
    const char *path = make(
        "ok.safetensors",
        "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
        "\"e\":{\"dtype\":\"F32\",\"shape\":[0,3],\"data_offsets\":[8,8]},\"h\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[9,15]},"
        "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[8,9]},\"x\":{\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[15,17]}"
        "}   ",
        17, 0);
    assert_ok(ar__st_open(&st, path, &err), err);
    assert_int_equal(ar__st_count(st), 5);
    assert_string_equal(ar__st_at(st, 0)->name, "a");
    assert_string_equal(ar__st_metadata(st, "format"), "pt");
    assert_null(ar__st_metadata(st, "nothing"));
    assert_int_equal(ar__st_find(st, "b")->dims, 0);
    assert_int_equal(ar__st_find(st, "b")->count, 1);
    assert_int_equal(ar__st_find(st, "e")->bytes, 0);
    assert_ok(ar__st_need(&t, st, "h", &err), err);
    assert_int_equal(((const unsigned char *)t->data)[0], 9);
    assert_error(ar__st_need(&t, st, "x", &err), AR_ERR_UNSUPPORTED, err, "tensor 'x' has dtype F8_E4M3, wanted F32, F16 or BF16");
    assert_error(ar__st_need(&t, st, "b", &err), AR_ERR_UNSUPPORTED, err, "has dtype I64");
    assert_error(ar__st_need(&t, st, "y", &err), AR_ERR_NOT_FOUND, err, "no tensor 'y'");
    ar__st_close(st);
}

static void every_cut_is_an_error(void **state) {
    (void)state;
    const char *header = "{\"model.norm.weight\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}";
    size_t n;
    char *bytes = read_file(make("whole.safetensors", header, 16, 0), &n);
    for (size_t i = 0; i < n; i++) refuse(temp_file("cut.safetensors", bytes, i), AR_ERR_FORMAT, "");
    refuse(temp_file("cut.safetensors", bytes, n - 1), AR_ERR_FORMAT, "tensor 'model.norm.weight' ends at byte ");
    free(bytes);
}

static void hostile_headers_are_errors(void **state) {
    (void)state;
    refuse(make("bad.safetensors", "{}", 0, UINT64_C(1) << 63), AR_ERR_FORMAT, "header of 9223372036854775808 bytes");
    refuse(make("bad.safetensors", "{}", 0, 100000001), AR_ERR_FORMAT, "at most 100000000");
    refuse(make("bad.safetensors", "{}", 0, UINT64_MAX), AR_ERR_FORMAT, "header of 18446744073709551615 bytes");
    refuse(make("bad.safetensors", "{}", 0, 3), AR_ERR_FORMAT, "header of 3 bytes, file has 10");
    refuse_header("[]", 0, "does not begin with '{'");
    refuse_header("{\"a\":", 0, "bad.safetensors (header):1:5: ");
    refuse_header("{\"a\":1}", 0, "tensor 'a': no 'dtype'");
    refuse_header("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,0]}}", 0, "no 'shape'");
    refuse_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,0]}}", 0, "'shape' holds no size");
    refuse_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[\"1\"],\"data_offsets\":[0,1]}}", 1, "'shape' holds no size");
    refuse_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "overflows");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0, "overflows");
    refuse_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, "more than 8");
    refuse_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, "'data_offsets'");
    refuse_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}}", 1, "'data_offsets'");
    refuse_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,18446744073709551615]}}", 1, "'data_offsets'");
    refuse_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[1.0],\"data_offsets\":[0,1]}}", 1, "a size is no integer");
    refuse_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0.0,1]}}", 1, "a size is no integer");
    refuse_header("{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,3]}}", 3, "tensor 'a' has 3 bytes, its F16 shape wants 4");
    refuse_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[9],\"data_offsets\":[0,9]}}", 8, "tensor 'a' ends at byte");
    refuse_header(
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}", 3,
        "tensor 'b' begins at byte 114, inside 'a' which ends at byte 115");
    refuse_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}", 3, "a gap that no tensor owns");
    refuse_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 3, "the last tensor ends at byte");
    refuse_header(
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
        "duplicate");
    refuse_header("{\"__metadata__\":{\"a\":1}}", 0, "metadata 'a': found integer, wanted string");
    refuse_header("{\"__metadata__\":[]}", 0, "'__metadata__' is no object");
}

static void other_files_are_named(void **state) {
    (void)state;
    refuse(temp_text("p.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"), AR_ERR_FORMAT, "git lfs pull");
    refuse(temp_file("p.bin", "PK\3\4aaaaaaaaaaaa", 16), AR_ERR_UNSUPPORTED, "pickle");
    refuse(temp_file("p.bin", "\x80\2}q\0X\1\0\0\0a", 12), AR_ERR_UNSUPPORTED, "pickle");
    refuse(temp_file("p.gguf", "GGUF\3\0\0\0aaaaaaaa", 16), AR_ERR_FORMAT, "GGUF file, wanted safetensors");
    refuse(temp_file("p.safetensors", "", 0), AR_ERR_FORMAT, "0 bytes long");
    refuse(temp_path("nothing.safetensors"), AR_ERR_IO, "cannot open");
    refuse(material("adapters/lfs-pointers/1_adapter_model.safetensors"), AR_ERR_FORMAT, "git lfs pull");
    refuse(material("adapters/bloom-560m/adapter_model.bin"), AR_ERR_UNSUPPORTED, "pickle");
}

/* A header length whose first byte is a pickle's must not be taken for one. */
static void length_of_128_is_no_pickle(void **state) {
    (void)state;
    char header[0x280 + 1];
    ar_error err;
    ar_st_set *st;
    memset(header, ' ', sizeof header - 1);
    header[sizeof header - 1] = '\0';
    memcpy(header, "{}", 2);
    assert_ok(ar__st_open(&st, make("128.safetensors", header, 0, 0), &err), err);
    ar__st_close(st);
}

#define ONE(name) "{\"" name "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}"

static const char *folder(const char *dir, const char *index) {
    char name[200];
    snprintf(name, sizeof name, "%s/one.safetensors", dir);
    make(name, ONE("a"), 1, 0);
    snprintf(name, sizeof name, "%s/two.safetensors", dir);
    make(name, ONE("b"), 1, 0);
    snprintf(name, sizeof name, "%s/model.safetensors.index.json", dir);
    temp_text(name, index);
    return temp_path(dir);
}

static void shards_agree_with_their_index(void **state) {
    (void)state;
    ar_error err;
    ar_st_set *st;
    assert_ok(ar__st_open(&st, folder("s", "{\"metadata\":{},\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}"), &err),
              err);
    assert_int_equal(ar__st_count(st), 2);
    assert_non_null(strstr(ar__st_path(st, ar__st_find(st, "b")->file), "two.safetensors"));
    ar__st_close(st);
    refuse(folder("s", "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"three.safetensors\"}}"), AR_ERR_NOT_FOUND,
           "three.safetensors: the shard is missing");
    refuse(folder("s", "{\"weight_map\":{\"a\":\"one.safetensors\",\"c\":\"two.safetensors\"}}"), AR_ERR_MISMATCH,
           "tensor 'c' is not in two.safetensors");
    refuse(folder("s", "{\"weight_map\":{\"b\":\"one.safetensors\",\"a\":\"two.safetensors\"}}"), AR_ERR_MISMATCH,
           "tensor 'b' is in two.safetensors, the index says one");
    refuse(folder("s", "{\"weight_map\":{\"a\":\"one.safetensors\",\"x\":\"../s/two.safetensors\"}}"), AR_ERR_FORMAT,
           "leads out of the folder");
    refuse(folder("s", "{\"weight_map\":{\"a\":\"/etc/passwd\"}}"), AR_ERR_FORMAT, "leads out of the folder");
    refuse(folder("s", "{\"weight_map\":{\"a\":\"x/..\"}}"), AR_ERR_FORMAT, "leads out of the folder");
    refuse(folder("s", "{\"weight_map\":{\"a\":7}}"), AR_ERR_FORMAT, "weight_map 'a': found integer, wanted a file name");
    refuse(folder("s", "{\"weight_map\":{\"a\":\"\"}}"), AR_ERR_FORMAT, "leads out of the folder");
    refuse(folder("s", "{}"), AR_ERR_FORMAT, "'weight_map' is missing");
    refuse(folder("s", "{\"weight_map\":\n  [}"), AR_ERR_FORMAT, "model.safetensors.index.json:2:4");
}

static void repeated_and_forgotten_tensors(void **state) {
    (void)state;
    folder("t", "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}");
    make("t/two.safetensors", ONE("a"), 1, 0);
    refuse(temp_path("t"), AR_ERR_FORMAT, "tensor 'a' stands in");
    folder("t", "{\"weight_map\":{\"a\":\"one.safetensors\"}}");
    make("t/one.safetensors",
         "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"z\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2,
         0);
    refuse(temp_path("t"), AR_ERR_MISMATCH, "tensor 'z' is not in");
}

static void folders_without_weights(void **state) {
    (void)state;
    temp_text("empty/config.json", "{}");
    refuse(temp_path("empty"), AR_ERR_NOT_FOUND, "no model.safetensors");
    temp_text("pickled/pytorch_model.bin", "");
    refuse(temp_path("pickled"), AR_ERR_UNSUPPORTED, "only as pickles (pytorch_model.bin)");
}

static void written_file_is_read_back(void **state) {
    (void)state;
    ar_error err;
    ar_st_writer *w;
    ar_st_set *st;
    float x[6] = {1, 2, 3, 4, 5, 6};
    uint16_t h[2] = {0x3f80, 0x4000};
    const char *path = temp_path("w.safetensors");
    assert_ok(ar__st_writer_new(&w, &err), err);
    assert_ok(ar__st_writer_add(w, "z", AR_F32, 2, (int64_t[]){2, 3}, x, &err), err);
    assert_ok(ar__st_writer_add(w, "h", AR_BF16, 1, (int64_t[]){2}, h, &err), err);
    assert_ok(ar__st_writer_add(w, "b\"\\\xc3\xa9", AR_F32, 0, NULL, x, &err), err);
    assert_ok(ar__st_writer_add(w, "empty", AR_F32, 1, (int64_t[]){0}, NULL, &err), err);
    assert_error(ar__st_writer_add(w, "z", AR_F32, 0, NULL, x, &err), AR_ERR_VALUE, err, "'z': the name is taken");
    assert_error(ar__st_writer_add(w, "q", AR_F32, 1, (int64_t[]){INT64_MAX}, x, &err), AR_ERR_VALUE, err, "too large");
    assert_ok(ar__st_writer_meta(w, "format", "pt", &err), err);
    assert_ok(ar__st_writer_save(w, path, &err), err);
    ar__st_writer_free(w);
    assert_ok(ar__st_open(&st, path, &err), err);
    assert_int_equal(ar__st_count(st), 4);
    assert_memory_equal(ar__st_find(st, "z")->data, x, sizeof x);
    assert_memory_equal(ar__st_find(st, "h")->data, h, sizeof h);
    assert_int_equal((uintptr_t)ar__st_find(st, "z")->data % 4, 0);
    assert_true((uintptr_t)ar__st_find(st, "h")->data > (uintptr_t)ar__st_find(st, "z")->data);
    assert_string_equal(ar__st_metadata(st, "format"), "pt");
    ar__st_close(st);
}

static void failed_write_leaves_the_old_file(void **state) {
    (void)state;
    ar_error err;
    ar_st_writer *w;
    float x = 1;
    const char *path = temp_text("old.safetensors", "old");
    assert_ok(ar__st_writer_new(&w, &err), err);
    assert_ok(ar__st_writer_add(w, "bad \xff name", AR_F32, 0, NULL, &x, &err), err);
    assert_error(ar__st_writer_save(w, path, &err), AR_ERR_VALUE, err, "UTF-8");
    assert_error(ar__st_writer_save(w, temp_path("no/such/place"), &err), AR_ERR_VALUE, err, "");
    ar__st_writer_free(w);
    char *text = read_file(path, NULL);
    assert_string_equal(text, "old");
    free(text);
}

/* Every single-byte change of a small file: read or refused, never a crash (run it under the sanitizers). */
static void changed_bytes_never_crash(void **state) {
    (void)state;
    const char *header = "{\"__metadata__\":{\"k\":\"v\"},\"a\":{\"dtype\":\"F16\",\"shape\":[2,1],\"data_offsets\":[0,4]}}";
    static const unsigned char values[] = {0, '"', '0', '9', '-', '}', 0x80, 0xff};
    size_t n;
    char *bytes = read_file(make("flip.safetensors", header, 4, 0), &n);
    for (size_t i = 0; i < n; i++)
        for (size_t v = 0; v < sizeof values; v++) {
            ar_st_set *st;
            char old = bytes[i];
            bytes[i] = (char)values[v];
            if (ar__st_open(&st, temp_file("flip.safetensors", bytes, n), NULL) == AR_OK) ar__st_close(st);
            bytes[i] = old;
        }
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_file_is_read),
        cmocka_unit_test(every_cut_is_an_error),
        cmocka_unit_test(hostile_headers_are_errors),
        cmocka_unit_test(length_of_128_is_no_pickle),
        cmocka_unit_test(shards_agree_with_their_index),
        cmocka_unit_test(repeated_and_forgotten_tensors),
        cmocka_unit_test(folders_without_weights),
        cmocka_unit_test(written_file_is_read_back),
        cmocka_unit_test(failed_write_leaves_the_old_file),
        cmocka_unit_test(changed_bytes_never_crash),
        cmocka_unit_test(other_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
