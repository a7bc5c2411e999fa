#include "format/foreign.h"

#include <string.h>

#include "base/fail.h"

static bool starts(const ar_filemap *m, const char *magic, size_t n) { return m->size >= n && !memcmp(m->data, magic, n); }

static bool is_zip(const ar_filemap *m) { return starts(m, "PK\3\4", 4) || starts(m, "PK\5\6", 4); }

/* Local header: 26 u16 length of the name | 28 u16 length of the extra field | 30 the name. */
bool ar__foreign_is_npz(const ar_filemap *m) {
    if (!starts(m, "PK\3\4", 4) || m->size < 30) return false;
    size_t n = m->data[26] | (size_t)m->data[27] << 8;
    return n >= 4 && m->size - 30 >= n && !memcmp(m->data + 30 + n - 4, ".npy", 4);
}

static bool is_pickle(const ar_filemap *m) {
    return is_zip(m) || (m->size >= 2 && m->data[0] == 0x80 && m->data[1] >= 2 && m->data[1] <= 5);
}

/* u64 header length, then JSON. */
static bool is_safetensors(const ar_filemap *m) {
    return m->size > 10 && m->data[8] == '{' && (m->data[9] == '"' || m->data[9] == '}') && !m->data[6] && !m->data[7];
}

static char first_letter(const ar_filemap *m) {
    size_t i = 0;
    while (i < m->size && m->data[i] && strchr(" \t\r\n", m->data[i])) i++;
    return i < m->size ? (char)m->data[i] : '\0';
}

ar_status ar__foreign_file(const ar_filemap *m, const char *path, const char *wanted, const char *found, ar_error *err) {
    if (starts(m, "version https://git-lfs", 23))
        return ar__fail(
            err, AR_ERR_FORMAT,
            "%s: a Git LFS pointer of %zu bytes, wanted the weights: run `git lfs pull` in the repository, or download the file itself",
            path, m->size);
    if (ar__foreign_is_npz(m) && strcmp(wanted, "npz") != 0)
        return ar__fail(err, AR_ERR_FORMAT, "%s: a NumPy archive (.npz), wanted %s", path, wanted);
    if (is_pickle(m))
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: a Python pickle, which can run code when read; wanted %s: convert it where you trust it, "
                        "with torch.load(..., weights_only=True) and safetensors.torch.save_file",
                        path, wanted);
    if (starts(m, "GGUF", 4) && strcmp(wanted, "GGUF") != 0)
        return ar__fail(err, AR_ERR_FORMAT, "%s: a GGUF file, wanted %s", path, wanted);
    if (is_safetensors(m) && strcmp(wanted, "safetensors") != 0)
        return ar__fail(err, AR_ERR_FORMAT, "%s: a safetensors file, wanted %s", path, wanted);
    if (first_letter(m) == '{') return ar__fail(err, AR_ERR_FORMAT, "%s: a JSON text, wanted %s", path, wanted);
    if (first_letter(m) == '<')
        return ar__fail(err, AR_ERR_FORMAT, "%s: a web page, wanted %s: the download did not reach the file, or wants a login", path,
                        wanted);
    return ar__fail(err, AR_ERR_FORMAT, "%s: %s; not a whole %s file, download or save it again", path, found, wanted);
}
