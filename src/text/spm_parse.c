/* A bounded reader of the few protobuf messages that a tokenizer.model holds. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "text/spm.h"
#include "text/utf8.h"
#include "text/vocab.h"

/* One message's bytes, and the field last read. */
typedef struct reader {
    const unsigned char *p, *end;
    uint32_t field;
    uint64_t number;           /* varint and fixed fields */
    const unsigned char *data; /* length-delimited fields */
    size_t len;
} reader;

static bool varint(reader *r, uint64_t *v) {
    *v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (r->p == r->end) return false;
        unsigned char b = *r->p++;
        *v |= (uint64_t)(b & 0x7F) << shift;
        if (!(b & 0x80)) return true;
    }
    return false;
}

static bool fixed(reader *r, size_t n) {
    if ((size_t)(r->end - r->p) < n) return false;
    r->number = 0;
    for (size_t i = 0; i < n; i++) r->number |= (uint64_t)r->p[i] << (8 * i);
    r->p += n;
    return true;
}

/* 1: a field was read; 0: the message ends; -1: it is broken. */
static int next_field(reader *r) {
    uint64_t tag;
    if (r->p == r->end) return 0;
    if (!varint(r, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX) return -1;
    r->field = (uint32_t)(tag >> 3);
    r->data = NULL;
    r->len = 0;
    switch (tag & 7) {
    case 0: return varint(r, &r->number) ? 1 : -1;
    case 1: return fixed(r, 8) ? 1 : -1;
    case 5: return fixed(r, 4) ? 1 : -1;
    case 2:
        if (!varint(r, &r->number) || r->number > (uint64_t)(r->end - r->p)) return -1;
        r->data = r->p;
        r->len = (size_t)r->number;
        r->p += r->len;
        return 1;
    default: return -1;
    }
}

static reader inside(const reader *r) { return (reader){.p = r->data, .end = r->data + r->len}; }

static ar_status broken(const char *message, ar_error *err) {
    return ar__fail(err, AR_ERR_FORMAT, "not a SentencePiece model: %s is cut off or damaged", message);
}

static ar_status read_piece(ar_spm_file *f, const reader *outer, ar_error *err) {
    if (!outer->data) return broken("a piece", err);
    reader r = inside(outer);
    ar_spm_piece piece = {.type = AR_SPM_NORMAL};
    int more;
    while ((more = next_field(&r)) == 1) {
        if (r.field == 1 && r.data) {
            piece.text = (const char *)r.data;
            piece.len = r.len;
        } else if (r.field == 2) {
            uint32_t bits = (uint32_t)r.number;
            memcpy(&piece.score, &bits, 4);
        } else if (r.field == 3) {
            if (r.number < AR_SPM_NORMAL || r.number > AR_SPM_BYTE) return broken("a piece's type", err);
            piece.type = (ar_spm_type)r.number;
        }
    }
    if (more < 0 || !piece.len || piece.len > 1 << 16) return broken("a piece", err);
    if (ar__utf8_valid(piece.text, piece.len) != piece.len || memchr(piece.text, 0, piece.len)) return broken("a piece's text", err);
    if (!(piece.score > -1e30f && piece.score < 1e30f)) return broken("a piece's score", err);
    if (f->count >= AR_VOCAB_MAX_ID) return ar__fail(err, AR_ERR_FORMAT, "SentencePiece model: more than %d pieces", AR_VOCAB_MAX_ID);
    ar_spm_piece *p = ar__grow(f->piece, &f->cap, f->count + 1, sizeof *p);
    if (!p) return ar__fail_memory(err, "SentencePiece model");
    f->piece = p;
    p[f->count++] = piece;
    return AR_OK;
}

static ar_status read_trainer(ar_spm_file *f, const reader *outer, ar_error *err) {
    reader r = inside(outer);
    int more;
    while ((more = next_field(&r)) == 1) {
        if (r.field == 3)
            f->model_type = r.number <= 4 ? (int)r.number : 0;
        else if (r.field == 24)
            f->suffix_space = r.number != 0;
        else if (r.field == 35)
            f->byte_fallback = r.number != 0;
        else if (r.field == 41)
            f->bos = (int)(int32_t)(uint32_t)r.number;
        else if (r.field == 42)
            f->eos = (int)(int32_t)(uint32_t)r.number;
        else if (r.field == 44 && r.data) {
            f->unk_surface = (const char *)r.data;
            f->unk_surface_len = r.len;
        }
    }
    return more < 0 ? broken("its trainer_spec", err) : AR_OK;
}

static ar_status read_normalizer(ar_spm_file *f, const reader *outer, ar_error *err) {
    reader r = inside(outer);
    int more;
    while ((more = next_field(&r)) == 1) {
        if (r.field == 2 && r.data) {
            f->charsmap = (const char *)r.data;
            f->charsmap_len = r.len;
        } else if (r.field == 3)
            f->dummy_prefix = r.number != 0;
        else if (r.field == 4)
            f->squeeze = r.number != 0;
        else if (r.field == 5)
            f->escape = r.number != 0;
    }
    return more < 0 ? broken("its normalizer_spec", err) : AR_OK;
}

ar_status ar__spm_parse(ar_spm_file *out, const unsigned char *data, size_t n, ar_error *err) {
    static const char question[] = " \xE2\x81\x87 ";
    *out = (ar_spm_file){.model_type = 1,
                         .bos = 1,
                         .eos = 2,
                         .dummy_prefix = true,
                         .squeeze = true,
                         .escape = true,
                         .unk_surface = question,
                         .unk_surface_len = sizeof question - 1};
    reader r = {.p = data, .end = data + n};
    ar_status s = AR_OK;
    int more = 0;
    while (!s && (more = next_field(&r)) == 1) {
        if (r.field == 1)
            s = read_piece(out, &r, err);
        else if (r.field == 2 && r.data)
            s = read_trainer(out, &r, err);
        else if (r.field == 3 && r.data)
            s = read_normalizer(out, &r, err);
    }
    if (!s && (more < 0 || !out->count)) s = broken(out->count ? "its end" : "it has no pieces; it", err);
    if (s) free(out->piece);
    if (s) out->piece = NULL;
    return s;
}
