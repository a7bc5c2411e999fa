/* Settings of a run as a table, and as the command that asks for them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alphar/settings.h"
#include "base/file.h"
#include "format/json.h"
#include "record/page.h"
#include "record/sections.h"

void ar__value_text(ar_buf *out, const json_t *value) {
    size_t i;
    const json_t *item;
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_STRING: ar__buf_puts(out, json_string_value(value)); break;
    case JSON_INTEGER: ar__buf_printf(out, "%lld", (long long)json_integer_value(value)); break;
    case JSON_REAL: ar__buf_printf(out, "%.6g", json_real_value(value)); break;
    case JSON_TRUE: ar__buf_puts(out, "yes"); break;
    case JSON_FALSE: ar__buf_puts(out, "no"); break;
    case JSON_NULL: ar__buf_puts(out, "–"); break;
    case JSON_ARRAY:
        if (!json_array_size(value)) ar__buf_puts(out, "–");
        json_array_foreach(value, i, item) {
            if (i) ar__buf_puts(out, ", ");
            ar__value_text(out, item);
        }
        break;
    case JSON_OBJECT: ar__buf_puts(out, "{…}"); break;
    }
}

static bool holds_word(const json_t *list, const char *word) {
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item) if (json_is_string(item) && !strcmp(json_string_value(item), word)) return true;
    return false;
}

static bool is_first_choice(const ar_setting *row, const char *value) {
    size_t n = row->initial ? strlen(row->initial) : strcspn(row->choices, "|");
    return strlen(value) == n && !strncmp(row->initial ? row->initial : row->choices, value, n);
}

static double initial_number(const ar_setting *row) {
    return row->initial && strcmp(row->initial, row->word ? row->word : "") != 0 ? strtod(row->initial, NULL) : 0;
}

/* What run.json has as a number though it was not asked for: alpha is 2·rank, steps follow from the epochs. */
static bool is_derived(const json_t *settings, const char *name, const json_t *value, const json_t *given) {
    double rank, alpha;
    if (!strcmp(name, "steps")) return given && !holds_word(given, "steps");
    if (!strcmp(name, "epochs")) return given && holds_word(given, "steps");
    return !strcmp(name, "alpha") && ar__json_as_double(&alpha, value) && ar__json_as_double(&rank, json_object_get(settings, "rank")) &&
           alpha == 2 * rank;
}

bool ar__is_default(const json_t *settings, const char *name, const json_t *given) {
    const ar_setting *row = ar_train_setting(name);
    const json_t *value = json_object_get(settings, name);
    double x;
    if (!row || ar__json_is_off(value) || is_derived(settings, name, value, given))
        return row == NULL || !json_is_false(value) || !row->initial || strcmp(row->initial, "true") != 0;
    if (json_is_true(value)) return row->initial && !strcmp(row->initial, "true");
    if (ar__json_as_double(&x, value)) return x == initial_number(row);
    if (row->type == AR_SETTING_CHOICE && json_is_string(value)) return is_first_choice(row, json_string_value(value));
    return row->shown && json_is_string(value) && !strncmp(row->shown, json_string_value(value), strlen(json_string_value(value)));
}

static void put_row(ar_report_page *p, const char *name, const json_t *value) {
    ar_buf text = {0};
    ar__value_text(&text, value);
    ar__page_row_begin(&p->html, NULL);
    ar__page_cell(&p->html, "ll", 0, name);
    ar__page_cell(&p->html, "ll", 1, text.data ? text.data : "");
    ar__page_row_end(&p->html);
    ar__buf_release(&text);
}

static void put_table(ar_report_page *p, const json_t *settings, const json_t *given, bool all) {
    static const char *const heads[] = {"setting", "value"};
    const char *name;
    json_t *value;
    ar__page_table_begin(&p->html, heads, "ll", 2);
    json_object_foreach((json_t *)(uintptr_t)settings, name, value) if (all || !ar__is_default(settings, name, given))
        put_row(p, name, value);
    ar__page_table_end(&p->html);
}

void ar__put_settings(ar_report_page *p, const json_t *settings, const json_t *given) {
    ar__page_heading(&p->html, 3, "Settings that are not the defaults");
    put_table(p, settings, given, false);
    ar__page_fold_begin(&p->html, "all settings");
    put_table(p, settings, given, true);
    ar__page_fold_end(&p->html);
}

/* ---- the command -----------------------------------------------------------------------------------------------------*/

void ar__put_shell_word(ar_buf *out, const char *word) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:=+@%";
    if (*word && strspn(word, plain) == strlen(word)) {
        ar__buf_puts(out, word);
        return;
    }
    ar__buf_puts(out, "'");
    for (const char *c = word; *c; c++)
        if (*c == '\'')
            ar__buf_puts(out, "'\\''");
        else
            ar__buf_add(out, c, 1);
    ar__buf_puts(out, "'");
}

static void add_option(ar_buf *line, const char *name, const json_t *value) {
    ar_buf text = {0};
    if (json_is_true(value)) {
        ar__buf_printf(line, " --%s", name);
    } else if (json_is_false(value)) {
        ar__buf_printf(line, " --no-%s", name);
    } else {
        if (json_is_real(value)) {
            char number[40];
            int digits = 6;
            do snprintf(number, sizeof number, "%.*g", digits, json_real_value(value));
            while (strtod(number, NULL) != json_real_value(value) && ++digits <= 17);
            ar__buf_puts(&text, number);
        } else {
            ar__value_text(&text, value);
        }
        ar__buf_printf(line, " --%s ", name);
        ar__put_shell_word(line, text.data ? text.data : "");
    }
    ar__buf_release(&text);
}

void ar__put_command(ar_report_page *p, const char *command, const json_t *settings, const json_t *given, const char *out) {
    size_t count, k;
    const ar_setting *rows = ar_train_settings(&count);
    ar_buf line = {0};
    ar__buf_printf(&line, "alphar %s", command);
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(settings, rows[i].name), *item;
        if (rows[i].type == AR_SETTING_SECTION || !value || ar__is_default(settings, rows[i].name, given)) continue;
        bool several = json_is_array(value) && (rows[i].type == AR_SETTING_FILES || rows[i].type == AR_SETTING_TEXTS);
        if (!several) add_option(&line, rows[i].name, value);
        if (several) json_array_foreach(value, k, item) add_option(&line, rows[i].name, item);
    }
    ar__buf_puts(&line, " --out ");
    ar__put_shell_word(&line, out);
    ar__page_heading(&p->html, 3, "To reproduce");
    ar__page_code(&p->html, line.data ? line.data : "");
    ar__buf_release(&line);
}
