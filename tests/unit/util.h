/* What the unit tests share: a temporary folder, files in it, comparisons of floats, material that may be missing.
 *
 * Includes cmocka and what cmocka needs, so that a test includes this file alone. */
#ifndef ALPHAR_TEST_UTIL_H
#define ALPHAR_TEST_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "alphar/error.h"

/* `name` inside this process's temporary folder, which is made on first use and removed at exit; folders in the
 * name are made, the file is not.  The string lives until exit. */
const char *temp_path(const char *name);
/* Writes n bytes to temp_path(name), over what may be there; returns the path. */
const char *temp_file(const char *name, const void *bytes, size_t n);
const char *temp_text(const char *name, const char *text);
/* The whole file, NUL-terminated; caller frees.  n may be NULL.  A file that cannot be read fails the test. */
char *read_file(const char *path, size_t *n);
bool file_exists(const char *path);

/* Path of something below ../shared/material; where it is missing the test says so and is skipped.
 * The string lives until exit. */
const char *material(const char *name);

/* n floats from N(0, scale²), a function of the seed alone; caller frees. */
float *random_f32(size_t n, uint64_t seed, float scale);

/* ‖got − want‖ / ‖want‖, in double; the plain ‖got‖ where want is all zero. */
double relative_error(const float *got, const float *want, size_t n);
/* |got − want| / max(|want|, tiny). */
double relative_diff(double got, double want);

/* Fails, naming index and values, unless |got[i] − want[i]| ≤ tolerance · max(1, |want[i]|) for all i; NaN fails. */
#define assert_close(got, want, n, tolerance) assert_close_at((got), (want), (n), (tolerance), __FILE__, __LINE__)
/* The same for one number. */
#define assert_near(got, want, tolerance) assert_near_at((got), (want), (tolerance), __FILE__, __LINE__)
/* Fails unless relative_error(got, want, n) ≤ tolerance. */
#define assert_relative(got, want, n, tolerance) assert_relative_at((got), (want), (n), (tolerance), __FILE__, __LINE__)
/* Samples of one file, as an ar_data_source or its address, good in the block where it stands. */
#define ONE_PATH(path) ((ar_data_source){.files = {(const char *const[]){path}, 1}})
#define ONE_FILE(path) (&ONE_PATH(path))
/* The call returns AR_OK; otherwise the message in err (an ar_error) is shown. */
#define assert_ok(call, err) assert_ok_at((call), &(err), __FILE__, __LINE__)
/* The call returns `status`, and the message in err contains `part`. */
#define assert_error(call, wanted, err, part) assert_error_at((call), (wanted), &(err), (part), __FILE__, __LINE__)

void assert_close_at(const float *got, const float *want, size_t n, double tolerance, const char *file, int line);
void assert_near_at(double got, double want, double tolerance, const char *file, int line);
void assert_relative_at(const float *got, const float *want, size_t n, double tolerance, const char *file, int line);
void assert_ok_at(ar_status got, const ar_error *err, const char *file, int line);
void assert_error_at(ar_status got, ar_status want, const ar_error *err, const char *part, const char *file, int line);

#endif
