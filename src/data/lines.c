#include "data/lines.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/rng.h"
#include "data/csv.h"

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
    {MAGIC("PAR1"), "a Parquet file",
     "python3 -c 'import pandas, sys; pandas.read_parquet(sys.argv[1]).to_json(\"data.jsonl\", orient=\"records\", lines=True)' FILE "
     "converts it"},
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

static bool ends_with(const char *name, const char *suffix) {
    size_t n = strlen(name), k = strlen(suffix);
    return n >= k && !strcasecmp(name + n - k, suffix);
}

/* Whether it is a table, and what parts its columns: told by the name, or by a first line that is not the start of any JSON. */
static bool is_table(char *delimiter, const ar_lines *l, const char *line, size_t n) {
    *delimiter = delimiter_of(line, n);
    if (ends_with(l->file, ".tsv") || ends_with(l->file, ".tab")) *delimiter = '\t';
    if (ends_with(l->file, ".csv") && !*delimiter) *delimiter = ',';
    bool named = ends_with(l->file, ".csv") || ends_with(l->file, ".tsv") || ends_with(l->file, ".tab");
    return named || (*delimiter && (!begins_json(line, n) || *line == '"'));
}

static ar_status refuse_text(const ar_lines *l, ar_error *err) {
    return ar__fail(
        err, AR_ERR_FORMAT,
        "%s: found plain text, wanted one JSON object a line: jq -Rc 'select(length > 0) | {text: .}' '%s' > data.jsonl makes each "
        "line a sample",
        l->path, l->file);
}

/* Lines that end in CR alone would be one line: another object begins behind a CR in it. */
static bool ends_in_cr(const char *line, size_t n) {
    const char *cr = memchr(line, '\r', n), *end = line + n;
    while (cr && cr < end && is_space(*cr)) cr++;
    return cr && cr < end && *cr == '{';
}

static ar_status refuse_foreign(const ar_lines *l, ar_error *err) {
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        if (l->size < foreign[i].size || memcmp(l->text, foreign[i].bytes, foreign[i].size) != 0) continue;
        return ar__fail(err, AR_ERR_FORMAT, "%s: found %s, wanted JSON Lines: %s", l->path, foreign[i].what, foreign[i].remedy);
    }
    return AR_OK;
}

static ar_status refuse_cr(const ar_lines *l, ar_error *err) {
    return ar__fail(err, AR_ERR_FORMAT, "%s: found lines that end in CR alone, wanted LF: tr '\\r' '\\n' < '%s' > data.jsonl converts them",
                    l->path, l->file);
}

static ar_status make_rows(ar_lines *l, char delimiter, ar_error *err) {
    size_t n = l->size - l->at;
    if (!memchr(l->text + l->at, '\n', n) && memchr(l->text + l->at, '\r', n)) return refuse_cr(l, err);
    ar_status s = ar__csv_to_lines(&l->made, &l->numbers, l->text + l->at, l->size - l->at, delimiter, l->path, err);
    if (s) return s;
    if (!l->made.len) return ar__fail(err, AR_ERR_FORMAT, "%s: found a table without a row under its names", l->path);
    ar__filemap_close(&l->map);
    l->text = l->made.data;
    l->size = l->made.len;
    l->at = 0;
    return AR_OK;
}

/* What the file is, by its beginning. */
static ar_status look(ar_lines *l, ar_error *err) {
    ar_status s = refuse_foreign(l, err);
    size_t i = l->at;
    while (i < l->size && is_space(l->text[i])) i++;
    if (s) return s;
    if (i == l->size) return ar__fail(err, AR_ERR_FORMAT, "%s: found no samples, wanted one JSON object a line", l->path);
    if (l->text[i] == '[') {
        l->array = true;
        for (; l->at <= i; l->at++) l->number += l->text[l->at] == '\n';
        l->number++;
        return AR_OK;
    }
    const char *end = memchr(l->text + i, '\n', l->size - i);
    size_t n = end ? (size_t)(end - (l->text + i)) : l->size - i;
    char delimiter;
    if (is_table(&delimiter, l, l->text + i, n)) return make_rows(l, delimiter, err);
    if (ends_in_cr(l->text + i, n)) return refuse_cr(l, err);
    return begins_json(l->text + i, n) ? AR_OK : refuse_text(l, err);
}

/* ---- shares --------------------------------------------------------------------------------------------------------*/

static bool is_share(const char *text) {
    double x = strtod(text, NULL);
    return x > 0 && x <= 1000;
}

char *ar__share_split(double *share, const char *path) {
    const char *colon = strrchr(path, ':');
    char *end;
    *share = 1;
    if (!colon || colon == path || !colon[1] || ar__path_exists(path)) return ar__strdup(path);
    double x = strtod(colon + 1, &end);
    if (*end || !is_share(colon + 1)) return ar__strdup(path);
    *share = x;
    return ar__strndup(path, (size_t)(colon - path));
}

static bool next_row(ar_line *out, ar_lines *l);

static void rewind_rows(ar_lines *l, size_t at, size_t number) {
    l->at = at;
    l->number = number;
    l->row = 0;
    l->taken = 0;
    l->some = l->closed = false;
}

/* Counts the rows where a part of them is wanted. */
static void begin_share(ar_lines *l) {
    ar_line line;
    size_t at = l->at, number = l->number;
    double whole = floor(l->share);
    l->passes = (uint64_t)whole;
    l->begin = at;
    l->begin_number = number;
    if (l->share == whole) return;
    while (next_row(&line, l)) l->rows++;
    l->wanted = (size_t)llround((l->share - whole) * (double)l->rows);
    rewind_rows(l, at, number);
}

/* Of the rows that are left as many as are still wanted, each as likely as another. */
static bool takes_row(ar_lines *l, size_t row) {
    ar_rng rng = ar__rng_stream(l->seed, AR_RNG_SAMPLE, 1, 0);
    size_t left = l->rows - row, want = l->wanted - l->taken;
    bool take = ar__rng_uniform(&rng, row) * (double)left < (double)want;
    l->taken += take;
    return take;
}

bool ar__lines_next(ar_line *out, ar_lines *l) {
    for (;;) {
        if (l->passes) {
            if (next_row(out, l)) return true;
            l->passes--;
            if (!l->passes && !l->wanted) return false;
            rewind_rows(l, l->begin, l->begin_number);
            continue;
        }
        size_t row = l->row;
        if (l->taken == l->wanted || !next_row(out, l)) return false;
        l->row = row + 1;
        if (takes_row(l, row)) return true;
    }
}

/* ---- opening -------------------------------------------------------------------------------------------------------*/

ar_status ar__input_read(ar_buf *out, ar_error *err) {
    char block[1 << 16];
    ssize_t n;
    while ((n = read(STDIN_FILENO, block, sizeof block)) != 0) {
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return ar__fail_errno(err, "standard input");
        ar__buf_add(out, block, (size_t)n);
        if (out->failed) return ar__fail_memory(err, "standard input");
    }
    return AR_OK;
}

static ar_status open_text(ar_lines *l, const ar_buf *input, ar_error *err) {
    if (!strcmp(l->file, "-")) {
        l->text = input && input->len ? input->data : "";
        l->size = input ? input->len : 0;
        return AR_OK;
    }
    ar_status s = ar__filemap_open(&l->map, l->file, err);
    l->text = l->map.size ? (const char *)l->map.data : "";
    l->size = l->map.size;
    return s;
}

ar_status ar__lines_open(ar_lines *out, const char *path, const ar_buf *input, uint64_t seed, ar_error *err) {
    *out = (ar_lines){.path = path, .seed = seed};
    const char *colon = strrchr(path, ':');
    char *end = NULL;
    if (colon && colon != path && colon[1] && (strtod(colon + 1, &end), !*end) && !ar__path_exists(path) && !is_share(colon + 1))
        return ar__fail(err, AR_ERR_USAGE, "%s: found the share %s, wanted one above 0 and up to 1000", path, colon + 1);
    out->file = ar__share_split(&out->share, path);
    ar_status s = out->file ? open_text(out, input, err) : ar__fail_memory(err, path);
    if (!s && out->size >= 3 && !memcmp(out->text, "\xef\xbb\xbf", 3)) out->at = 3;
    if (!s) s = look(out, err);
    if (s)
        ar__lines_close(out);
    else
        begin_share(out);
    return s;
}

void ar__lines_close(ar_lines *l) {
    ar__filemap_close(&l->map);
    ar__buf_release(&l->made);
    ar__buf_release(&l->numbers);
    free(l->file);
    l->file = NULL;
}

/* ---- rows ----------------------------------------------------------------------------------------------------------*/

static bool next_line(ar_line *out, ar_lines *l) {
    while (l->at < l->size) {
        const char *text = l->text + l->at;
        size_t left = l->size - l->at;
        const char *end = memchr(text, '\n', left);
        size_t size = end ? (size_t)(end - text) : left;
        l->at += size + (end != NULL);
        l->number++;
        while (size && is_space(text[size - 1])) size--;
        while (size && is_space(*text)) text++, size--;
        if (!size) continue;
        *out = (ar_line){.text = text, .size = size, .number = l->number};
        if (l->numbers.len) memcpy(&out->number, l->numbers.data + (l->number - 1) * sizeof out->number, sizeof out->number);
        return true;
    }
    return false;
}

static void skip_space(ar_lines *l) {
    for (; l->at < l->size && is_space(l->text[l->at]); l->at++) l->number += l->text[l->at] == '\n';
}

/* The last row: what is wrong with the array from here on. */
static bool end_broken(ar_line *out, ar_lines *l, const char *why) {
    *out = (ar_line){.text = "", .number = l->number, .broken = why};
    l->at = l->size;
    l->closed = true;
    return true;
}

/* Goes on to the next element; false where the array ends, or is broken. */
static bool reach_element(ar_line *out, ar_lines *l, bool *broken) {
    const char *why = NULL;
    skip_space(l);
    bool comma = l->some && l->at < l->size && l->text[l->at] == ',';
    if (comma) {
        l->at++;
        skip_space(l);
    }
    char c = l->at < l->size ? l->text[l->at] : '\0';
    if (l->at == l->size && !l->closed) why = "the array has no ']': is the file whole?";
    if (c == ']' && comma) why = "found ',]', a comma too many";
    if (c == ',') why = l->some ? "found ',,', a comma too many" : "found a comma before the first element";
    if (c && c != ']' && l->some && !comma && c != ',') why = "found no comma between two elements of the array";
    if (c == ']' && !why) {
        l->closed = true;
        l->at++;
        skip_space(l);
        if (l->at < l->size)
            why = "found more behind the array's ']'; for a list of messages a line: jq -c '{messages: .}' FILE > data.jsonl";
    }
    *broken = why && end_broken(out, l, why);
    return !*broken && l->at < l->size;
}

/* An element of the array: up to the comma or bracket that is in no string and no bracket of its own. */
static bool next_element(ar_line *out, ar_lines *l) {
    size_t depth = 0, i;
    bool string = false, broken;
    if (!reach_element(out, l, &broken)) return broken;
    size_t number = l->number;
    for (i = l->at; i < l->size; i++) {
        char c = l->text[i];
        l->number += c == '\n';
        if (string) {
            if (c == '\\') i++;
            if (c == '"') string = false;
            continue;
        }
        if (c == '"') string = true;
        if (!depth && (c == ',' || c == ']')) break;
        depth += c == '{' || c == '[';
        if ((c == '}' || c == ']') && depth && !--depth) {
            i++;
            break;
        }
    }
    size_t end = i < l->size ? i : l->size;
    *out = (ar_line){.text = l->text + l->at, .size = end - l->at, .number = number};
    while (out->size && is_space(out->text[out->size - 1])) out->size--;
    l->at = end;
    l->some = true;
    return true;
}

static bool next_row(ar_line *out, ar_lines *l) { return l->array ? next_element(out, l) : next_line(out, l); }

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
