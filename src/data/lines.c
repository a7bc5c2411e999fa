#include "data/lines.h"

#include <string.h>

#include "base/fail.h"

#define MAGIC(bytes) bytes, sizeof(bytes) - 1

/* Files that people point at by mistake, by their first bytes. */
static const struct {
    const char *bytes;
    size_t size;
    const char *what, *remedy;
} foreign[] = {
    {MAGIC("\x1f\x8b"), "a gzip archive", "unpack it with gunzip"},
    {MAGIC("\x28\xb5\x2f\xfd"), "a zstd archive", "unpack it with unzstd"},
    {MAGIC("BZh"), "a bzip2 archive", "unpack it with bunzip2"},
    {MAGIC("\xfd\x37zXZ"), "an xz archive", "unpack it with unxz"},
    {MAGIC("PK\x03\x04"), "a zip archive", "unpack it with unzip; a spreadsheet is one too, export that as CSV"},
    {MAGIC("PAR1"), "a Parquet file", "export it as JSON Lines (datasets: Dataset.to_json)"},
    {MAGIC("ARROW1"), "an Arrow file", "export it as JSON Lines (datasets: Dataset.to_json)"},
    {MAGIC("\xff\xfe\0\0"), "UTF-32 text", "convert it with iconv -f UTF-32 -t UTF-8"},
    {MAGIC("\xff\xfe"), "UTF-16 text", "convert it with iconv -f UTF-16 -t UTF-8"},
    {MAGIC("{\0"), "UTF-16 text", "convert it with iconv -f UTF-16LE -t UTF-8"},
    {MAGIC("\0{"), "UTF-16 text", "convert it with iconv -f UTF-16BE -t UTF-8"},
    {MAGIC("\xfe\xff"), "UTF-16 text", "convert it with iconv -f UTF-16 -t UTF-8"},
    {MAGIC("version https://git-lfs"), "a Git LFS pointer", "fetch the file itself with git lfs pull"},
};

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* The character that parts the columns of a table's first line, 0 where it is none.  A line that begins with a quote is a JSON
 * string unless a column follows the quoted one. */
static char delimiter_of(const char *line, size_t n) {
    size_t i = 0;
    if (n && line[0] == '"') {
        for (i = 1; i < n && line[i] != '"'; i++) i += line[i] == '\\';
        return ++i < n && strchr(",;\t", line[i]) ? line[i] : 0;
    }
    while (i < n && !strchr(",;\t", line[i])) i++;
    return i < n ? line[i] : 0;
}

static bool begins_json(const char *line, size_t n) {
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < 3; i++)
        if (n >= strlen(words[i]) && !memcmp(line, words[i], strlen(words[i]))) return true;
    return n && strchr("{\"-0123456789", *line);
}

/* A first line that is not the start of any JSON: a table, or plain text. */
static ar_status refuse_text(const ar_lines *l, const char *line, size_t n, ar_error *err) {
    char delimiter = delimiter_of(line, n), shown[3] = {delimiter};
    if (delimiter == '\t') memcpy(shown, "\\t", 3);
    if (begins_json(line, n) && (*line != '"' || !delimiter)) return AR_OK;
    if (delimiter)
        return ar__fail(
            err, AR_ERR_FORMAT,
            "%s: found a table with '%s' between its columns, wanted one JSON object a line: python3 -c 'import csv, json, sys; "
            "[print(json.dumps(r)) for r in csv.DictReader(open(sys.argv[1], newline=\"\", encoding=\"utf-8-sig\"), "
            "delimiter=\"%s\")]' '%s' > data.jsonl converts it",
            l->path, shown, shown, l->path);
    return ar__fail(
        err, AR_ERR_FORMAT,
        "%s: found plain text, wanted one JSON object a line: jq -Rc 'select(length > 0) | {text: .}' '%s' > data.jsonl makes each "
        "line a sample",
        l->path, l->path);
}

/* Lines that end in CR alone would be one line: another object begins behind a CR in it. */
static bool ends_in_cr(const char *line, size_t n) {
    const char *cr = memchr(line, '\r', n), *end = line + n;
    while (cr && cr < end && is_space(*cr)) cr++;
    return cr && cr < end && *cr == '{';
}

static ar_status refuse_foreign(const ar_lines *l, ar_error *err) {
    const char *data = (const char *)l->map.data;
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        if (l->map.size < foreign[i].size || memcmp(data, foreign[i].bytes, foreign[i].size) != 0) continue;
        return ar__fail(err, AR_ERR_FORMAT, "%s: found %s, wanted JSON Lines: %s", l->path, foreign[i].what, foreign[i].remedy);
    }
    size_t i = l->at;
    while (i < l->map.size && is_space(data[i])) i++;
    if (i == l->map.size) return ar__fail(err, AR_ERR_FORMAT, "%s: found no samples, wanted one JSON object a line", l->path);
    if (data[i] == '[')
        return ar__fail(err, AR_ERR_FORMAT,
                        "%s: found a JSON array, wanted one JSON object a line: jq -c '.[]' '%s' > data.jsonl converts it", l->path,
                        l->path);
    const char *end = memchr(data + i, '\n', l->map.size - i);
    size_t n = end ? (size_t)(end - (data + i)) : l->map.size - i;
    if (ends_in_cr(data + i, n))
        return ar__fail(err, AR_ERR_FORMAT,
                        "%s: found lines that end in CR alone, wanted LF: tr '\\r' '\\n' < '%s' > data.jsonl converts them", l->path,
                        l->path);
    return refuse_text(l, data + i, n, err);
}

ar_status ar__lines_open(ar_lines *out, const char *path, ar_error *err) {
    *out = (ar_lines){.path = path};
    ar_status s = ar__filemap_open(&out->map, path, err);
    if (s) return s;
    if (out->map.size >= 3 && !memcmp(out->map.data, "\xef\xbb\xbf", 3)) out->at = 3;
    if ((s = refuse_foreign(out, err))) ar__lines_close(out);
    return s;
}

void ar__lines_close(ar_lines *l) { ar__filemap_close(&l->map); }

bool ar__lines_next(ar_line *out, ar_lines *l) {
    while (l->at < l->map.size) {
        const char *text = (const char *)l->map.data + l->at;
        size_t left = l->map.size - l->at;
        const char *end = memchr(text, '\n', left);
        size_t size = end ? (size_t)(end - text) : left;
        l->at += size + (end != NULL);
        l->number++;
        while (size && is_space(text[size - 1])) size--;
        while (size && is_space(*text)) text++, size--;
        if (!size) continue;
        *out = (ar_line){.text = text, .size = size, .number = l->number};
        return true;
    }
    return false;
}

/* Length of the well-formed sequence at p (Unicode, table 3-7), 0 where there is none. */
static size_t sequence(const unsigned char *p, size_t left) {
    unsigned char c = p[0], low = 0x80, high = 0xbf;
    size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (n > left) return 0;
    if (c == 0xe0) low = 0xa0;
    if (c == 0xed) high = 0x9f;
    if (c == 0xf0) low = 0x90;
    if (c == 0xf4) high = 0x8f;
    if (n > 1 && (p[1] < low || p[1] > high)) return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return n;
}

size_t ar__utf8_bad_at(const char *text, size_t n) {
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0, step; i < n; i += step)
        if (!(step = sequence(p + i, n - i))) return i;
    return n;
}
