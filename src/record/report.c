/* What each path of a report is, and the page around the sections. */
#include "alphar/report.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fail.h"
#include "base/file.h"
#include "format/json.h"
#include "kern/runtime.h"
#include "record/page.h"
#include "record/sections.h"
#include "train/output.h"

static bool holds(const char *dir, const char *name) {
    char *path = ar__path_join(dir, name);
    bool there = path && ar__path_exists(path);
    free(path);
    return there;
}

static bool ends_in(const char *path, const char *ending) {
    size_t n = strlen(path), k = strlen(ending);
    return n > k && !strcmp(path + n - k, ending);
}

static bool is_run(const char *path) { return ar__path_is_dir(path) && holds(path, AR_RUN_RECORD); }

static ar_status put_section(ar_report_page *p, const char *path, ar_error *err) {
    json_t *json = NULL;
    if (!ar__path_exists(path)) return ar__fail(err, AR_ERR_NOT_FOUND, "%s: there is nothing of that name", path);
    if (is_run(path)) return ar__section_run(p, path, err);
    if (ar__path_is_dir(path) && holds(path, AR_SWEEP_RECORD)) return ar__section_sweep(p, path, err);
    if (!ends_in(path, ".json")) return ar__section_adapter(p, path, p->o->model, true, err);
    ar_status s = ar__json_load_object(&json, path, 1 << 28, err);
    if (!s) s = ar__section_measured(p, path, json, err);
    json_decref(json);
    return s;
}

static ar_status put_comparison(ar_report_page *p, ar_error *err) {
    const char **runs = ar__alloc(p->o->count, sizeof *runs);
    size_t n = 0;
    if (!runs) return ar__fail_memory(err, "report");
    for (size_t i = 0; i < p->o->count; i++)
        if (is_run(p->o->paths[i])) runs[n++] = p->o->paths[i];
    ar_status s = n > 1 ? ar__section_compared(p, runs, n, err) : AR_OK;
    free(runs);
    return s;
}

/* A file that is there is replaced only where it is a report, or that was asked for. */
static ar_status check_free(const ar_report_options *o, ar_error *err) {
    static const char mark[] = "<!DOCTYPE html>\n" AR_PAGE_MARK;
    char head[sizeof mark - 1];
    if (ar__path_is_dir(o->out)) return ar__fail(err, AR_ERR_EXISTS, "%s: found a folder, wanted a file to write", o->out);
    struct stat out, in;
    if (stat(o->out, &out)) return AR_OK;
    if (!S_ISREG(out.st_mode)) return ar__fail(err, AR_ERR_EXISTS, "%s: is a device or a pipe, wanted a file to write", o->out);
    for (size_t i = 0; i < o->count; i++)
        if (!stat(o->paths[i], &in) && in.st_ino == out.st_ino && in.st_dev == out.st_dev)
            return ar__fail(err, AR_ERR_EXISTS, "%s: is what the report is about; give another --out", o->out);
    if (o->overwrite) return AR_OK;
    if (ar__file_peek(head, sizeof head, o->out) && !memcmp(head, mark, sizeof head)) return AR_OK;
    return ar__fail(err, AR_ERR_EXISTS, "%s: exists, and is no report of alphar; --overwrite replaces it", o->out);
}

ar_status ar_report(const ar_runtime *rt, const ar_report_options *o, ar_error *err) {
    ar_report_page p = {.rt = rt, .o = o};
    if (!o->count) return ar__fail(err, AR_ERR_USAGE, "report: wanted a path at least");
    ar_status s = check_free(o, err);
    if (s) return s;
    ar__page_begin(&p.html, o->count == 1 ? ar__path_base(o->paths[0]) : "Report");
    s = put_comparison(&p, err);
    for (size_t i = 0; !s && i < o->count; i++) s = put_section(&p, o->paths[i], err);
    ar__page_end(&p.html);
    if (!s && p.html.failed) s = ar__fail_memory(err, o->out);
    if (!s) s = ar__file_write(o->out, p.html.data, p.html.len, err);
    ar__buf_release(&p.html);
    return s;
}
