#include "fuzz.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "adapter/adapter.h"
#include "base/file.h"

enum { PATH_BYTES = 512, MAX_FILES = 16 };

static char folder[PATH_BYTES];

static void must(int holds, const char *what) {
    if (holds) return;
    perror(what);
    exit(1);
}

static void remove_folder(void) { ar__dir_remove(folder, NULL); }

const char *fuzz_path(const char *name) {
    static char path[PATH_BYTES * 2];
    if (!*folder) {
        const char *parent = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%s/alphar-fuzz-XXXXXX", parent ? parent : "/tmp");
        must(mkdtemp(folder) != NULL, folder);
        atexit(remove_folder);
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

const char *fuzz_file(const uint8_t *data, size_t size) {
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        must(fd >= 0, "memfd_create");
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    must(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size, path);
    return path;
}

static void write_file(const char *path, const uint8_t *data, size_t size) {
    FILE *f = fopen(path, "wb");
    must(f && fwrite(data, 1, size, f) == size, path);
    must(fclose(f) == 0, path);
}

const char *fuzz_folder(const uint8_t *data, size_t size, const char *const *names, int count) {
    static const uint8_t nothing[1];
    if (!size) data = nothing;
    for (int i = 0; i < count; i++) {
        const uint8_t *end = i + 1 < count && data ? memchr(data, 0, size) : NULL;
        size_t n = end ? (size_t)(end - data) : size;
        if (data)
            write_file(fuzz_path(names[i]), data, n);
        else
            unlink(fuzz_path(names[i]));
        data = end ? end + 1 : NULL;
        size -= end ? n + 1 : n;
    }
    fuzz_path("");
    return folder;
}

void fuzz_touch(const void *bytes, size_t n) {
    static volatile unsigned char sink;
    const unsigned char *p = bytes;
    unsigned char sum = 0;
    for (size_t i = 0; i < n; i++) sum ^= p[i];
    sink = sum;
    (void)sink;
}

void fuzz_check(int holds, const char *message) {
    if (holds) return;
    fprintf(stderr, "%s\n", message);
    abort();
}

void fuzz_open_adapter(const char *path) {
    ar_adapter *ad;
    if (ar_adapter_open(&ad, path, NULL, NULL)) return;
    for (size_t i = 0; i < ad->pair_count; i++) {
        ar_pair *p = &ad->pair[i];
        fuzz_check(p->rank > 0 && p->n_in > 0 && p->n_out > 0 && isfinite(p->scale), "a pair makes no sense");
        fuzz_check(ar__adapter_find_pair(ad, p->site) == p, "a pair is not found by its site");
        if (ar__pair_load(ad, p, NULL)) continue;
        fuzz_touch(p->a, (size_t)p->rank * (size_t)p->n_in * sizeof *p->a);
        fuzz_touch(p->b, (size_t)p->rank * (size_t)p->n_out * sizeof *p->b);
        ar__pair_unload(p);
    }
    for (size_t i = 0; i < ad->whole_count; i++) {
        ar_whole *w = &ad->whole[i];
        if (ar__whole_load(ad, w, NULL)) continue;
        fuzz_touch(w->data, w->count * sizeof *w->data);
        ar__whole_unload(w);
    }
    ar_adapter_free(ad);
}

/* The linker's --wrap puts these in the place of the product's maps. */
ar_status __real_ar__filemap_open(ar_filemap *out, const char *path, ar_error *err);
void __real_ar__filemap_close(ar_filemap *m);
ar_status __wrap_ar__filemap_open(ar_filemap *out, const char *path, ar_error *err);
void __wrap_ar__filemap_close(ar_filemap *m);
void __wrap_ar__filemap_forget(const void *bytes, size_t n);

ar_status __wrap_ar__filemap_open(ar_filemap *out, const char *path, ar_error *err) {
    ar_filemap map;
    ar_status s = __real_ar__filemap_open(&map, path, err);
    *out = (ar_filemap){0};
    if (s || !map.size) return s;
    unsigned char *copy = malloc(map.size);
    must(copy != NULL, "malloc");
    memcpy(copy, map.data, map.size);
    *out = (ar_filemap){copy, map.size};
    __real_ar__filemap_close(&map);
    return AR_OK;
}

void __wrap_ar__filemap_close(ar_filemap *m) {
    free((void *)(uintptr_t)m->data);
    *m = (ar_filemap){0};
}

void __wrap_ar__filemap_forget(const void *bytes, size_t n) { fuzz_touch(bytes, n); }
