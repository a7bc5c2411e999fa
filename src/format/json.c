#include "format/json.h"

#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "format/json_number.h"

size_t ar__json_bom(const char *text, size_t n) { return n >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3) ? 3 : 0; }

static bool has_word(const char *text, size_t n, const char *word) {
    size_t size = strlen(word);
    for (const char *p = text; (size_t)(text + n - p) >= size && (p = memchr(p, *word, (size_t)(text + n - p) - size + 1)); p++)
        if (!memcmp(p, word, size)) return true;
    return false;
}

/* May it have stopped at a number: too large for it, or named as Python names them? */
static bool stopped_at_number(const json_error_t *at, const char *text, size_t n) {
    if (json_error_code(at) == json_error_numeric_overflow) return true;
    return json_error_code(at) == json_error_invalid_syntax && (has_word(text, n, "NaN") || has_word(text, n, "Infinity"));
}

json_t *ar__json_decode(const char *text, size_t n, size_t flags, json_error_t *at) {
    size_t bom = ar__json_bom(text, n);
    if (!n) text = ""; /* jansson takes no NULL */
    bool note_integers = flags & AR_JSON_NOTE_INTEGERS;
    flags = (flags & ~(size_t)AR_JSON_NOTE_INTEGERS) | JSON_DECODE_ANY;
    json_t *root = json_loadb(text + bom, n - bom, flags, at);
    if (root || !stopped_at_number(at, text, n)) return root;
    ar_buf other = {0};
    ar__json_rewrite_numbers(&other, text + bom, n - bom, note_integers);
    if (!other.failed && other.data) root = json_loadb(other.data, other.len, flags, at);
    ar__buf_release(&other);
    return root;
}

ar_status ar__json_read(json_t **out, const char *text, size_t n, size_t flags, const char *place, ar_error *err) {
    json_error_t e;
    *out = ar__json_decode(text, n, flags, &e);
    if (*out) return AR_OK;
    if (json_error_code(&e) == json_error_out_of_memory) return ar__fail_memory(err, place);
    if (n >= 2 && (!memcmp(text, "\xFF\xFE", 2) || !memcmp(text, "\xFE\xFF", 2)))
        return ar__fail(err, AR_ERR_FORMAT, "%s: found UTF-16 text, wanted UTF-8; save it again as UTF-8", place);
    if (json_error_code(&e) == json_error_null_character || json_error_code(&e) == json_error_null_byte_in_key)
        return ar__fail(err, AR_ERR_FORMAT, "%s:%d:%d: found a NUL character, wanted JSON text", place, e.line, e.column);
    return ar__fail(err, AR_ERR_FORMAT, "%s:%d:%d: not JSON: %s", place, e.line, e.column, e.text);
}

ar_status ar__json_parse(json_t **out, const char *text, size_t n, const char *place, ar_error *err) {
    return ar__json_read(out, text, n, JSON_REJECT_DUPLICATES, place, err);
}

ar_status ar__json_load(json_t **out, const char *path, size_t max_bytes, ar_error *err) {
    ar_buf text = {0};
    *out = NULL;
    ar_status s = ar__file_read(&text, path, max_bytes, err);
    if (!s && text.len > 23 && !memcmp(text.data, "version https://git-lfs", 23))
        s = ar__fail(err, AR_ERR_FORMAT, "%s: a Git LFS pointer, wanted the file: run `git lfs pull` in the repository", path);
    if (!s) s = ar__json_parse(out, text.data, text.len, path, err);
    ar__buf_release(&text);
    return s;
}

ar_status ar__json_load_object(json_t **out, const char *path, size_t max_bytes, ar_error *err) {
    ar_status s = ar__json_load(out, path, max_bytes, err);
    if (!s && !json_is_object(*out)) {
        s = ar__fail(err, AR_ERR_FORMAT, "%s: found %s, wanted an object", path, ar__json_type(*out));
        json_decref(*out);
        *out = NULL;
    }
    return s;
}

const char *ar__json_type(const json_t *value) {
    if (!value) return "nothing";
    const char *number = ar__json_number_note(value);
    if (number) return number;
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "object";
    case JSON_ARRAY: return "list";
    case JSON_STRING: return "string";
    case JSON_INTEGER: return "integer";
    case JSON_REAL: return "number";
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    case JSON_NULL: return "null";
    }
    return "value";
}

bool ar__json_holds(const json_t *array, const char *text) {
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *item = json_string_value(json_array_get(array, i));
        if (item && !strcmp(item, text)) return true;
    }
    return false;
}

bool ar__json_has(const json_t *object, const char *key) {
    const json_t *v = json_object_get(object, key);
    return v && !json_is_null(v);
}

bool ar__json_is_off(const json_t *v) {
    if (!v || json_is_null(v) || json_is_false(v)) return true;
    if (json_is_string(v)) return json_string_length(v) == 0;
    if (json_is_array(v)) return json_array_size(v) == 0;
    return json_is_object(v) && json_object_size(v) == 0;
}

bool ar__json_as_int(int64_t *out, const json_t *v) {
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return true;
    }
    double d = json_real_value(v);
    if (!json_is_real(v) || d != floor(d) || fabs(d) > 0x1p53) return false;
    *out = (int64_t)d;
    return true;
}

bool ar__json_as_double(double *out, const json_t *v) {
    if (!json_is_number(v)) return false;
    *out = json_number_value(v);
    return true;
}

static ar_status wrong(const char *wanted, const json_t *object, const char *key, const char *place, ar_error *err) {
    const json_t *v = json_object_get(object, key);
    if (json_is_real(v)) return ar__fail(err, AR_ERR_FORMAT, "%s: '%s': found %.17g, wanted %s", place, key, json_real_value(v), wanted);
    return ar__fail(err, AR_ERR_FORMAT, "%s: '%s': found %s, wanted %s", place, key, ar__json_type(v), wanted);
}

ar_status ar__json_need(const json_t *object, const char *key, const char *place, ar_error *err) {
    if (ar__json_has(object, key)) return AR_OK;
    return ar__fail(err, AR_ERR_FORMAT, "%s: '%s' is missing", place, key);
}

ar_status ar__json_get_int(int64_t *out, const json_t *object, const char *key, const char *place, ar_error *err) {
    if (!ar__json_has(object, key) || ar__json_as_int(out, json_object_get(object, key))) return AR_OK;
    return wrong("integer", object, key, place, err);
}

ar_status ar__json_get_double(double *out, const json_t *object, const char *key, const char *place, ar_error *err) {
    if (!ar__json_has(object, key) || ar__json_as_double(out, json_object_get(object, key))) return AR_OK;
    return wrong("number", object, key, place, err);
}

ar_status ar__json_get_bool(bool *out, const json_t *object, const char *key, const char *place, ar_error *err) {
    const json_t *v = json_object_get(object, key);
    if (!ar__json_has(object, key)) return AR_OK;
    if (!json_is_boolean(v)) return wrong("true or false", object, key, place, err);
    *out = json_is_true(v);
    return AR_OK;
}

ar_status ar__json_get_string(const char **out, const json_t *object, const char *key, const char *place, ar_error *err) {
    const json_t *v = json_object_get(object, key);
    if (!ar__json_has(object, key)) return AR_OK;
    if (!json_is_string(v)) return wrong("string", object, key, place, err);
    *out = json_string_value(v);
    return AR_OK;
}

ar_status ar__json_get_array(const json_t **out, const json_t *object, const char *key, const char *place, ar_error *err) {
    const json_t *v = json_object_get(object, key);
    if (!ar__json_has(object, key)) return AR_OK;
    if (!json_is_array(v)) return wrong("list", object, key, place, err);
    *out = v;
    return AR_OK;
}

ar_status ar__json_get_object(const json_t **out, const json_t *object, const char *key, const char *place, ar_error *err) {
    const json_t *v = json_object_get(object, key);
    if (!ar__json_has(object, key)) return AR_OK;
    if (!json_is_object(v) || ar__json_number_note(v)) return wrong("object", object, key, place, err);
    *out = v;
    return AR_OK;
}

unsigned ar__json_digits(unsigned digits, double x) {
    for (; digits < 17; digits++) {
        char text[40];
        snprintf(text, sizeof text, "%.*g", (int)digits, x);
        if (strtod(text, NULL) == x) break;
    }
    return digits;
}
