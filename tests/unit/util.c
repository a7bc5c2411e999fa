/* Helpers of the unit tests; see util.h. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "util.h"

/* Strings handed out, kept reachable and freed at exit so that leak checkers stay quiet. */
static char **kept;
static size_t kept_count;
static char temp_dir[512];
static pid_t owner; /* a forked child must not clean up */

static const char *keep(char *s) {
    char **more = realloc(kept, (kept_count + 1) * sizeof *more);
    if (!s || !more) fail_msg("out of memory");
    kept = more;
    kept[kept_count++] = s;
    return s;
}

static const char *join(const char *dir, const char *name) {
    size_t n = strlen(dir) + strlen(name) + 2;
    char *s = malloc(n);
    if (s) snprintf(s, n, "%s/%s", dir, name);
    return keep(s);
}

static void clean_up(void) {
    if (getpid() == owner) ar__dir_remove(temp_dir, NULL);
    for (size_t i = 0; i < kept_count; i++) free(kept[i]);
    free(kept);
}

static void make_temp_dir(void) {
    const char *base = getenv("TMPDIR");
    snprintf(temp_dir, sizeof temp_dir, "%s/alphar-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(temp_dir)) fail_msg("cannot make %s: %s", temp_dir, strerror(errno));
    owner = getpid();
    atexit(clean_up);
}

const char *temp_path(const char *name) {
    if (!temp_dir[0]) make_temp_dir();
    const char *path = join(temp_dir, name);
    for (char *slash = strchr(path + strlen(temp_dir) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0777) && errno != EEXIST) fail_msg("cannot make %s: %s", path, strerror(errno));
        *slash = '/';
    }
    return path;
}

const char *temp_file(const char *name, const void *bytes, size_t n) {
    const char *path = temp_path(name);
    FILE *f = fopen(path, "wb");
    if (!f || (n && fwrite(bytes, 1, n, f) != n) || fclose(f)) fail_msg("cannot write %s: %s", path, strerror(errno));
    return path;
}

const char *temp_text(const char *name, const char *text) { return temp_file(name, text, strlen(text)); }

char *read_file(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END)) fail_msg("cannot read %s: %s", path, strerror(errno));
    long size = ftell(f);
    rewind(f);
    char *bytes = size < 0 ? NULL : malloc((size_t)size + 1);
    if (!bytes || fread(bytes, 1, (size_t)size, f) != (size_t)size) fail_msg("cannot read %s", path);
    fclose(f);
    bytes[size] = '\0';
    if (n) *n = (size_t)size;
    return bytes;
}

bool file_exists(const char *path) { return access(path, F_OK) == 0; }

const char *material(const char *name) {
    const char *path = join("../shared/material", name);
    if (file_exists(path)) return path;
    print_message("%s is not here\n", path);
    skip();
    return path;
}

float *random_f32(size_t n, uint64_t seed, float scale) {
    float *x = malloc((n ? n : 1) * sizeof *x);
    if (!x) fail_msg("out of memory");
    ar_rng g = ar__rng_stream(seed, AR_RNG_SAMPLE, 0, 0);
    for (size_t i = 0; i < n; i++) x[i] = scale * (float)ar__rng_normal(&g, i);
    return x;
}

double relative_error(const float *got, const float *want, size_t n) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)got[i] - (double)want[i];
        difference += d * d;
        size += (double)want[i] * (double)want[i];
    }
    return size > 0 ? sqrt(difference / size) : sqrt(difference);
}

double relative_diff(double got, double want) { return fabs(got - want) / fmax(fabs(want), 1e-300); }

void assert_close_at(const float *got, const float *want, size_t n, double tolerance, const char *file, int line) {
    for (size_t i = 0; i < n; i++) {
        double w = (double)want[i];
        if (fabs((double)got[i] - w) <= tolerance * fmax(1, fabs(w))) continue;
        print_error("[%zu] of %zu: %.9g, wanted %.9g within %g\n", i, n, (double)got[i], w, tolerance);
        _fail(file, line);
    }
}

void assert_near_at(double got, double want, double tolerance, const char *file, int line) {
    if (fabs(got - want) <= tolerance * fmax(1, fabs(want))) return;
    print_error("%.12g, wanted %.12g within %g\n", got, want, tolerance);
    _fail(file, line);
}

void assert_relative_at(const float *got, const float *want, size_t n, double tolerance, const char *file, int line) {
    double e = relative_error(got, want, n);
    if (e <= tolerance) return;
    print_error("relative error %g, wanted at most %g\n", e, tolerance);
    _fail(file, line);
}

void assert_ok_at(ar_status got, const ar_error *err, const char *file, int line) {
    if (got == AR_OK) return;
    print_error("status %d: %s\n", (int)got, err->message);
    _fail(file, line);
}

void assert_error_at(ar_status got, ar_status want, const ar_error *err, const char *part, const char *file, int line) {
    if (got == want && strstr(err->message, part)) return;
    print_error("status %d, wanted %d; message \"%s\", wanted \"%s\" in it\n", (int)got, (int)want, got ? err->message : "", part);
    _fail(file, line);
}
