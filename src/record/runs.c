/* The table `runs`, `pragma user_version` 1.  Writers wait for each other up to BUSY milliseconds; a row is one small transaction. */
#include "alphar/runs.h"

#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

enum { VERSION = 1, BUSY = 3000 };

struct ar_runs {
    sqlite3 *db;
    char *path;
};

static const char schema[] = "CREATE TABLE IF NOT EXISTS runs (id INTEGER PRIMARY KEY, command TEXT NOT NULL, status TEXT NOT NULL, "
                             "started INTEGER NOT NULL, seconds REAL, arguments TEXT, folder TEXT, out TEXT, model TEXT, settings TEXT, "
                             "result TEXT, loss REAL, eval_loss REAL, version TEXT);"
                             "PRAGMA user_version = 1;";

static ar_status failed(const ar_runs *r, int code, ar_error *err) {
    ar_status status = code == SQLITE_NOTADB || code == SQLITE_CORRUPT ? AR_ERR_FORMAT : code == SQLITE_NOMEM ? AR_ERR_MEMORY : AR_ERR_IO;
    return ar__fail(err, status, "%s: %s", r->path, r->db ? sqlite3_errmsg(r->db) : sqlite3_errstr(code));
}

/* ---- opening ---------------------------------------------------------------------------------------------------------*/

char *ar_runs_path(void) {
    const char *own = getenv("ALPHAR_HOME"), *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (own) return *own ? ar__path_join(own, "runs.sqlite") : NULL;
    if (data && *data) return ar__path_join(data, "alphar/runs.sqlite");
    return home && *home ? ar__path_join(home, ".local/share/alphar/runs.sqlite") : NULL;
}

static ar_status make_folder(const char *path, ar_error *err) {
    char *folder = ar__path_parent(path);
    ar_status s = folder ? ar__dir_make(folder, err) : ar__fail_memory(err, path);
    free(folder);
    return s;
}

static int read_version(int *version, sqlite3 *db) {
    sqlite3_stmt *q = NULL;
    int code = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &q, NULL);
    if (!code && (code = sqlite3_step(q)) == SQLITE_ROW) {
        *version = sqlite3_column_int(q, 0);
        code = SQLITE_OK;
    }
    sqlite3_finalize(q);
    return code;
}

static ar_status prepare(ar_runs *r, bool write, ar_error *err) {
    int version = 0, code = sqlite3_busy_timeout(r->db, BUSY);
    if (!code) code = read_version(&version, r->db);
    if (code) return failed(r, code, err);
    if (version > VERSION)
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: was written by a newer version of alphar (found %d, wanted %d at most)", r->path,
                        version, VERSION);
    if (write && version < VERSION) code = sqlite3_exec(r->db, schema, NULL, NULL, NULL);
    return code ? failed(r, code, err) : AR_OK;
}

ar_status ar_runs_open(ar_runs **out, const char *path, bool write, ar_error *err) {
    ar_runs *r = ar__alloc(1, sizeof *r);
    *out = NULL;
    if (!r) return ar__fail_memory(err, "runs");
    r->path = path ? ar__strdup(path) : ar_runs_path();
    ar_status s = r->path ? AR_OK : ar__fail(err, AR_ERR_NOT_FOUND, "runs: no record is kept (ALPHAR_HOME is empty, or there is no home)");
    if (!s && write) s = make_folder(r->path, err);
    if (!s && !write && !ar__path_exists(r->path)) s = ar__fail(err, AR_ERR_NOT_FOUND, "%s: nothing was recorded yet", r->path);
    if (!s) {
        int flags = write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
        int code = sqlite3_open_v2(r->path, &r->db, flags, NULL);
        s = code ? failed(r, code, err) : prepare(r, write, err);
    }
    if (s) {
        ar_runs_close(r);
        return s;
    }
    *out = r;
    return AR_OK;
}

void ar_runs_close(ar_runs *r) {
    if (!r) return;
    sqlite3_close(r->db);
    free(r->path);
    free(r);
}

/* ---- writing ---------------------------------------------------------------------------------------------------------*/

static void put_real(sqlite3_stmt *q, int at, double x) {
    if (isnan(x))
        sqlite3_bind_null(q, at);
    else
        sqlite3_bind_double(q, at, x);
}

static void put_text(sqlite3_stmt *q, int at, const char *text) { sqlite3_bind_text(q, at, text, -1, SQLITE_STATIC); /* NULL is null */ }

/* Columns in the order of the row's members, from command on; then the id. */
static ar_status write_row(ar_runs *r, const char *sql, const ar_runs_row *row, bool with_id, ar_error *err) {
    sqlite3_stmt *q = NULL;
    int code = sqlite3_prepare_v2(r->db, sql, -1, &q, NULL);
    if (!code) {
        put_text(q, 1, row->command);
        put_text(q, 2, row->status);
        sqlite3_bind_int64(q, 3, row->started);
        put_real(q, 4, row->seconds);
        put_text(q, 5, row->arguments);
        put_text(q, 6, row->folder);
        put_text(q, 7, row->out);
        put_text(q, 8, row->model);
        put_text(q, 9, row->settings);
        put_text(q, 10, row->result);
        put_real(q, 11, row->loss);
        put_real(q, 12, row->eval_loss);
        put_text(q, 13, row->version);
        if (with_id) sqlite3_bind_int64(q, 14, row->id);
        code = sqlite3_step(q);
    }
    ar_status s = code == SQLITE_DONE ? AR_OK : failed(r, code, err);
    sqlite3_finalize(q);
    return s;
}

ar_status ar_runs_begin(ar_runs *r, ar_runs_row *row, ar_error *err) {
    ar_status s = write_row(r,
                            "INSERT INTO runs (command, status, started, seconds, arguments, folder, out, model, settings, result, loss, "
                            "eval_loss, version) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                            row, false, err);
    if (!s) row->id = sqlite3_last_insert_rowid(r->db);
    return s;
}

ar_status ar_runs_end(ar_runs *r, const ar_runs_row *row, ar_error *err) {
    return write_row(
        r,
        "UPDATE runs SET command=?, status=?, started=?, seconds=?, arguments=?, folder=?, out=?, model=?, settings=?, result=?, "
        "loss=?, eval_loss=?, version=? WHERE id=?",
        row, true, err);
}

/* ---- reading ---------------------------------------------------------------------------------------------------------*/

static const char *text_at(sqlite3_stmt *q, int at) { return (const char *)sqlite3_column_text(q, at); }
static double real_at(sqlite3_stmt *q, int at) { return sqlite3_column_type(q, at) == SQLITE_NULL ? NAN : sqlite3_column_double(q, at); }

static ar_runs_row row_of(sqlite3_stmt *q) {
    return (ar_runs_row){.id = sqlite3_column_int64(q, 0),
                         .command = text_at(q, 1),
                         .status = text_at(q, 2),
                         .started = sqlite3_column_int64(q, 3),
                         .seconds = real_at(q, 4),
                         .arguments = text_at(q, 5),
                         .folder = text_at(q, 6),
                         .out = text_at(q, 7),
                         .model = text_at(q, 8),
                         .settings = text_at(q, 9),
                         .result = text_at(q, 10),
                         .loss = real_at(q, 11),
                         .eval_loss = real_at(q, 12),
                         .version = text_at(q, 13)};
}

static bool is_wanted(const ar_runs_filter *f, int64_t id) {
    bool wanted = !f->ids;
    for (int i = 0; !wanted && i < f->id_count; i++) wanted = f->ids[i] == id;
    return wanted;
}

ar_status ar_runs_list(ar_runs *r, const ar_runs_filter *filter, bool (*each)(void *user, const ar_runs_row *row), void *user,
                       ar_error *err) {
    static const ar_runs_filter everything = {0};
    const ar_runs_filter *f = filter ? filter : &everything;
    sqlite3_stmt *q = NULL;
    int code = sqlite3_prepare_v2(r->db,
                                  "SELECT id, command, status, started, seconds, arguments, folder, out, model, settings, result, loss, "
                                  "eval_loss, version FROM (SELECT * FROM runs WHERE ?1 IS NULL OR command = ?1 ORDER BY id DESC LIMIT ?2) "
                                  "ORDER BY id",
                                  -1, &q, NULL);
    if (!code) {
        put_text(q, 1, f->command);
        sqlite3_bind_int64(q, 2, f->limit > 0 && !f->ids ? f->limit : -1);
        while ((code = sqlite3_step(q)) == SQLITE_ROW) {
            ar_runs_row row = row_of(q);
            if (is_wanted(f, row.id) && !each(user, &row)) {
                code = SQLITE_DONE;
                break;
            }
        }
    }
    ar_status s = code == SQLITE_DONE ? AR_OK : failed(r, code, err);
    sqlite3_finalize(q);
    return s;
}
