/* Key-values of a GGUF adapter that Alphar does not go by: carried in the adapter's notes, never dropped. */
#include <stdlib.h>
#include <string.h>

#include "adapter/gguf.h"
#include "adapter/provenance.h"
#include "base/fail.h"
#include "base/mem.h"
#include "base/utf8.h"

#define PREFIX AR_NOTE_GGUF
#define TEXT "text:"
#define HEX "hex:"
#define BASE_NAME "general.base_model.0.name"
#define BASE_URL "general.base_model.0.repo_url"

/* Written by Alphar's writer from what it knows. */
static bool is_own(const char *key) {
    static const char *const own[] = {"general.type", "general.architecture", "general.alignment",
                                      "adapter.type", AR_GGUF_ALPHA,          AR_GGUF_ALORA};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!strcmp(key, own[i])) return true;
    return !strncmp(key, AR_GGUF_NOTE_PREFIX, sizeof AR_GGUF_NOTE_PREFIX - 1);
}

static bool starts(const char *s, const char *with) { return !strncmp(s, with, strlen(with)); }

static void encode(ar_buf *out, const ar_gguf_kv *kv) {
    ar_gguf_string text;
    bool plain =
        !kv->is_array && ar__gguf_string_at(&text, kv, 0) && !memchr(text.at, 0, text.len) && ar__utf8_valid(text.at, text.len) == text.len;
    if (plain) {
        ar__buf_puts(out, TEXT);
        ar__buf_add(out, text.at, text.len);
        return;
    }
    ar__buf_puts(out, HEX);
    for (size_t i = 0; i < kv->raw_bytes; i++) ar__buf_printf(out, "%02x", kv->raw[i]);
}

static ar_status keep(ar_adapter *ad, const ar_gguf_kv *kv, ar_error *err) {
    ar_buf name = {0}, value = {0};
    ar__buf_printf(&name, PREFIX "%s", kv->key);
    encode(&value, kv);
    bool ok = !name.failed && !value.failed;
    ar_status s = ok ? ar__adapter_set_note(ad, name.data, value.data, err) : ar__fail_memory(err, kv->key);
    ar__buf_release(&name);
    ar__buf_release(&value);
    return s;
}

ar_status ar__gguf_keys_read(ar_adapter *ad, const ar_gguf *g, ar_error *err) {
    ar_status s = AR_OK;
    for (int i = 0; !s && i < ar__gguf_kv_count(g); i++) {
        const ar_gguf_kv *kv = ar__gguf_kv_at(g, i);
        if (!is_own(kv->key)) s = keep(ad, kv, err);
    }
    return s;
}

static int digit(char c) {
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* The bytes behind "hex:"; false where they are none.  Notes may have been edited on the way. */
static bool decode(ar_buf *out, const char *hex) {
    for (; hex[0]; hex += 2) {
        int high = digit(hex[0]), low = high < 0 ? -1 : digit(hex[1]);
        if (low < 0) return false;
        unsigned char byte = (unsigned char)(high << 4 | low);
        ar__buf_add(out, &byte, 1);
    }
    return true;
}

static ar_status set_raw(ar_gguf_writer *w, const char *key, const char *hex, ar_error *err) {
    ar_buf raw = {0};
    bool ok = decode(&raw, hex) && raw.len > 4;
    ar_gguf_kv kv = {.key = key, .raw = (const unsigned char *)raw.data, .raw_bytes = raw.len};
    ar_status s = raw.failed ? ar__fail_memory(err, key)
                  : ok       ? ar__gguf_writer_copy_kv(w, &kv, err)
                             : ar__fail(err, AR_ERR_FORMAT, "metadata alphar." PREFIX "%s: is no value of a GGUF file", key);
    ar__buf_release(&raw);
    return s;
}

/* The base's name in GGUF's own keys, where what the adapter now names is not there already. */
static ar_status write_base(ar_gguf_writer *w, const ar_adapter *ad, ar_error *err) {
    const char *base = ad->settings.base, *name = ar__adapter_note(ad, PREFIX BASE_NAME), *url = ar__adapter_note(ad, PREFIX BASE_URL);
    const size_t n = sizeof TEXT - 1;
    bool named = base && ((name && starts(name, TEXT) && !strcmp(name + n, base)) || (url && starts(url, TEXT) && !strcmp(url + n, base)));
    return !base || named ? AR_OK : ar__gguf_writer_set_string(w, BASE_NAME, base, err);
}

ar_status ar__gguf_keys_write(ar_gguf_writer *w, const ar_adapter *ad, bool keep_types, ar_error *err) {
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < ad->note_keys.count; i++) {
        const char *note = ad->note_keys.at[i], *value = ad->note_values.at[i], *key = note + sizeof PREFIX - 1;
        if (!starts(note, PREFIX) || is_own(key) || (!keep_types && !strcmp(key, "general.file_type"))) continue;
        if (starts(value, TEXT))
            s = ar__gguf_writer_set_string(w, key, value + sizeof TEXT - 1, err);
        else if (starts(value, HEX))
            s = set_raw(w, key, value + sizeof HEX - 1, err);
    }
    return s ? s : write_base(w, ad, err);
}
