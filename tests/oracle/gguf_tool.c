/* The library's side of gguf_files.py.
 *
 *     gguf_tool show IN                 JSON: {"kv": {key: [type, value or list]}, "tensors": [[name, type, ne, hex of the bytes]]}
 *     gguf_tool npz IN                  JSON: [[name, type, shape, hex of the bytes]]
 *     gguf_tool copy IN OUT             every key-value and tensor as it is
 *     gguf_tool write OUT               a file of every value that the writer sets, and a tensor of every type
 *     gguf_tool quantize TYPE           stdin to stdout: f32 to blocks
 *     gguf_tool dequantize TYPE         and back
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "format/gguf.h"
#include "format/npz.h"

static int fail(const ar_error *err) {
    fprintf(stderr, "%s: %s\n", ar_status_name(err->status), err->message);
    return 1;
}

static json_t *hex(const void *bytes, size_t n) {
    ar_buf b = {0};
    for (size_t i = 0; i < n; i++) ar__buf_printf(&b, "%02x", ((const unsigned char *)bytes)[i]);
    json_t *v = json_string(b.data ? b.data : "");
    ar__buf_release(&b);
    return v;
}

static json_t *sizes(const int64_t *at, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, json_integer(at[i]));
    return list;
}

/* Strings in hex too, since they may hold anything; a u64 past 63 bits and lists of lists as null. */
static json_t *value_at(const ar_gguf_kv *kv, size_t i) {
    ar_gguf_string s;
    int64_t v;
    double d;
    bool yes;
    if (ar__gguf_string_at(&s, kv, i)) return hex(s.at, s.len);
    if (ar__gguf_bool_at(&yes, kv, i)) return json_boolean(yes);
    if (ar__gguf_int_at(&v, kv, i)) return json_integer(v);
    return ar__gguf_double_at(&d, kv, i) ? json_real(d) : json_null();
}

static json_t *describe(const ar_gguf *g) {
    json_t *kvs = json_object(), *tensors = json_array();
    for (int i = 0; i < ar__gguf_kv_count(g); i++) {
        const ar_gguf_kv *kv = ar__gguf_kv_at(g, i);
        json_t *list = json_array();
        for (size_t k = 0; k < kv->count; k++) json_array_append_new(list, value_at(kv, k));
        json_object_set_new(kvs, kv->key, json_pack("[s, o]", ar__gguf_type_name(kv), list));
    }
    for (int i = 0; i < ar__gguf_count(g); i++) {
        const ar_gguf_tensor *t = ar__gguf_at(g, i);
        json_array_append_new(tensors, json_pack("[s, s, o, o]", t->name, t->type_name, sizes(t->ne, t->dims), hex(t->data, t->bytes)));
    }
    return json_pack("{s:o, s:o}", "kv", kvs, "tensors", tensors);
}

static ar_status show(const char *path, ar_error *err) {
    ar_gguf *g;
    ar_status s = ar__gguf_open(&g, path, err);
    if (s) return s;
    json_t *v = describe(g);
    json_dumpf(v, stdout, 0);
    json_decref(v);
    ar__gguf_close(g);
    return AR_OK;
}

static ar_status show_npz(const char *path, ar_error *err) {
    ar_npz *z;
    ar_status s = ar__npz_open(&z, path, err);
    if (s) return s;
    json_t *list = json_array();
    for (int i = 0; i < ar__npz_count(z); i++) {
        const ar_npz_array *a = ar__npz_at(z, i);
        const char *type = a->dtype == AR_DTYPE_COUNT ? a->dtype_name : ar__dtype(a->dtype)->name;
        json_array_append_new(list, json_pack("[s, s, o, o]", a->name, type, sizes(a->shape, a->dims), hex(a->data, a->bytes)));
    }
    json_dumpf(list, stdout, 0);
    json_decref(list);
    ar__npz_close(z);
    return AR_OK;
}

static ar_status copy(const char *from, const char *to, ar_error *err) {
    ar_gguf *g;
    ar_gguf_writer *w = NULL;
    ar_status s = ar__gguf_open(&g, from, err);
    if (!s) s = ar__gguf_writer_new(&w, err);
    for (int i = 0; !s && i < ar__gguf_kv_count(g); i++) s = ar__gguf_writer_copy_kv(w, ar__gguf_kv_at(g, i), err);
    for (int i = 0; !s && i < ar__gguf_count(g); i++) s = ar__gguf_writer_copy(w, ar__gguf_at(g, i), err);
    if (!s) s = ar__gguf_writer_save(w, to, err);
    ar__gguf_writer_free(w);
    ar__gguf_close(g);
    return s;
}

static ar_status set_values(ar_gguf_writer *w, ar_error *err) {
    static const char *const words[] = {"", "a", "h\xc3\xa9llo \xf0\x9f\xa6\x99"};
    ar_status s;
    (void)((s = ar__gguf_writer_set_string(w, "general.architecture", "llama", err)) ||
           (s = ar__gguf_writer_set_u32(w, "t.u32", 4000000000u, err)) || (s = ar__gguf_writer_set_i32(w, "t.i32", -7, err)) ||
           (s = ar__gguf_writer_set_u64(w, "t.u64", UINT64_MAX, err)) || (s = ar__gguf_writer_set_f32(w, "t.f32", 0.1f, err)) ||
           (s = ar__gguf_writer_set_f64(w, "t.f64", 0.1, err)) || (s = ar__gguf_writer_set_bool(w, "t.bool", true, err)) ||
           (s = ar__gguf_writer_set_strings(w, "t.words", words, 3, err)) || (s = ar__gguf_writer_set_strings(w, "t.none", words, 0, err)));
    return s;
}

static ar_status write_all(const char *path, ar_error *err) {
    static const ar_dtype types[] = {AR_F32, AR_F16, AR_BF16, AR_F64, AR_I64, AR_I32, AR_I16, AR_I8, AR_Q8_0};
    const int64_t ne[] = {32, 3, 2, 1};
    unsigned char data[32 * 6 * 8];
    ar_gguf_writer *w;
    ar_status s = ar__gguf_writer_new(&w, err);
    if (s) return s;
    for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(i * 37 % 127);
    s = set_values(w, err);
    for (size_t i = 0; i < sizeof types / sizeof *types && !s; i++)
        s = ar__gguf_writer_add(w, ar__dtype(types[i])->name, types[i], (int)i % 4 + 1, ne, data, err);
    if (!s) s = ar__gguf_writer_save(w, path, err);
    ar__gguf_writer_free(w);
    return s;
}

static int convert(bool quantise, const char *type) {
    static float x[AR_MOST_BLOCK];
    static unsigned char block[4 * AR_MOST_BLOCK];
    ar_dtype of;
    if (!ar__dtype_from_name(&of, type)) return 2;
    const ar_dtype_info *t = ar__dtype(of);
    size_t bytes = t->block * sizeof *x;
    while (quantise ? fread(x, bytes, 1, stdin) : fread(block, t->bytes, 1, stdin)) {
        if (quantise)
            t->from_f32(block, x, t->block);
        else
            t->to_f32(x, block, t->block);
        if (fwrite(quantise ? (void *)block : (void *)x, quantise ? t->bytes : bytes, 1, stdout) != 1) return 1;
    }
    return 0;
}

int main(int argc, char **argv) {
    ar_error err = {AR_ERR_USAGE, "gguf_tool show|npz|copy|write|quantize|dequantize"};
    const char *verb = argc > 1 ? argv[1] : "";
    ar_status s = AR_ERR_USAGE;
    if ((!strcmp(verb, "quantize") || !strcmp(verb, "dequantize")) && argc == 3) return convert(*verb == 'q', argv[2]);
    if (!strcmp(verb, "show") && argc == 3) s = show(argv[2], &err);
    if (!strcmp(verb, "npz") && argc == 3) s = show_npz(argv[2], &err);
    if (!strcmp(verb, "copy") && argc == 4) s = copy(argv[2], argv[3], &err);
    if (!strcmp(verb, "write") && argc == 3) s = write_all(argv[2], &err);
    return s ? fail(&err) : 0;
}
