#include "text/config.h"

#include "base/fail.h"

const char *ar__config_type(const json_t *part) { return json_string_value(json_object_get(part, "type")); }

static const char *type_or(const json_t *part) {
    const char *type = ar__config_type(part);
    return type ? type : "(no type)";
}

static ar_status wrong(const json_t *part, const char *key, const char *wanted, ar_error *err) {
    return ar__fail(err, AR_ERR_FORMAT, "%.60s: '%s' is not %s", type_or(part), key, wanted);
}

ar_status ar__config_bool(bool *out, const json_t *part, const char *key, ar_error *err) {
    const json_t *v = json_object_get(part, key);
    if (!v || json_is_null(v)) return AR_OK;
    if (!json_is_boolean(v)) return wrong(part, key, "true or false", err);
    *out = json_is_true(v);
    return AR_OK;
}

ar_status ar__config_size(size_t *out, const json_t *part, const char *key, ar_error *err) {
    const json_t *v = json_object_get(part, key);
    if (!v || json_is_null(v)) return AR_OK;
    if (!json_is_integer(v) || json_integer_value(v) < 0) return wrong(part, key, "a whole number", err);
    *out = (size_t)json_integer_value(v);
    return AR_OK;
}

ar_status ar__config_text(const char **out, size_t *len, const json_t *part, const char *key, ar_error *err) {
    const json_t *v = json_object_get(part, key);
    if (!json_is_string(v)) return wrong(part, key, "a string", err);
    *out = json_string_value(v);
    *len = json_string_length(v);
    return AR_OK;
}

ar_status ar__config_array(const json_t **out, const json_t *part, const char *key, ar_error *err) {
    *out = json_object_get(part, key);
    return json_is_array(*out) ? AR_OK : wrong(part, key, "an array", err);
}

ar_status ar__config_refuse(const char *what, const json_t *part, ar_error *err) {
    return ar__fail(err, AR_ERR_UNSUPPORTED, "%s '%.60s' is not supported", what, type_or(part));
}

static int digit_of(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool ar__base64_decode(ar_buf *out, const char *s, size_t n) {
    while (n && s[n - 1] == '=') n--;
    uint32_t bits = 0;
    int have = 0;
    for (size_t i = 0; i < n; i++) {
        int d = digit_of(s[i]);
        if (d < 0) return false;
        bits = bits << 6 | (uint32_t)d;
        have += 6;
        if (have < 8) continue;
        have -= 8;
        char byte = (char)(bits >> have & 0xFF);
        ar__buf_add(out, &byte, 1);
    }
    return !out->failed;
}
