/* An adapter: how hard it pushes at each site, and in how many directions. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/site_name.h"
#include "adapter/targets.h"
#include "alphar/algebra.h"
#include "base/fail.h"
#include "base/log.h"
#include "kern/runtime.h"
#include "record/page.h"
#include "record/sections.h"
#include "record/svg.h"

enum { SHOWN = 4 /* spectra */, TABLE = 20, ROLES = 64 };

/* ---- a map of the sites ----------------------------------------------------------------------------------------------*/

typedef struct map {
    const char *role[ROLES];
    size_t roles, layers, *sum_count;
    double *sum; /* [layers × roles]: experts share a cell, which shows their mean */
} map;

/* Roles stand as a layer computes them; others behind, as they come. */
static void order_roles(map *m) {
    static const char *const known[] = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
    size_t at = 0;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        for (size_t i = at; i < m->roles; i++) {
            if (strcmp(m->role[i], known[k]) != 0) continue;
            const char *it = m->role[i];
            memmove(m->role + at + 1, m->role + at, (i - at) * sizeof *m->role);
            m->role[at++] = it;
        }
}

static size_t role_index(map *m, const char *role) {
    for (size_t i = 0; i < m->roles; i++)
        if (!strcmp(m->role[i], role)) return i;
    if (m->roles == ROLES) return SIZE_MAX;
    m->role[m->roles] = role;
    return m->roles++;
}

static ar_status fill_map(map *m, const char *const *sites, const double *value, size_t count, ar_error *err) {
    for (size_t i = 0; i < count; i++) {
        long layer = ar__site_layer(sites[i]);
        if (layer < 0 || layer > 4096) continue;
        if ((size_t)layer >= m->layers) m->layers = (size_t)layer + 1;
        role_index(m, ar__site_role(sites[i]));
    }
    order_roles(m);
    m->sum = ar__alloc(m->layers * ROLES + 1, sizeof *m->sum);
    m->sum_count = ar__alloc(m->layers * ROLES + 1, sizeof *m->sum_count);
    if (!m->sum || !m->sum_count) return ar__fail_memory(err, "report");
    for (size_t i = 0; i < count; i++) {
        long layer = ar__site_layer(sites[i]);
        size_t role = layer < 0 || layer > 4096 ? SIZE_MAX : role_index(m, ar__site_role(sites[i]));
        if (role == SIZE_MAX || !isfinite(value[i])) continue;
        m->sum[(size_t)layer * m->roles + role] += value[i];
        m->sum_count[(size_t)layer * m->roles + role]++;
    }
    for (size_t i = 0; i < m->layers * m->roles; i++) m->sum[i] = m->sum_count[i] ? m->sum[i] / (double)m->sum_count[i] : NAN;
    return AR_OK;
}

static ar_status put_map(ar_report_page *p, const char *title, const map *m, ar_error *err) {
    typedef char number[24];
    number *text = ar__alloc(m->layers, sizeof *text);
    const char **names = ar__alloc(m->layers, sizeof *names);
    ar_status s = text && names ? AR_OK : ar__fail_memory(err, "report");
    for (size_t i = 0; !s && i < m->layers; i++) {
        snprintf(text[i], sizeof text[i], "%zu", i);
        names[i] = text[i];
    }
    const ar_heat h = {title, "layer", names, m->role, m->layers, m->roles, m->sum};
    if (!s) ar__svg_heat(&p->html, &h);
    free(text);
    free(names);
    return s;
}

ar_status ar__put_sites_map(ar_report_page *p, const char *title, const char *const *sites, const double *value, size_t count,
                            ar_error *err) {
    map m = {.roles = 0};
    ar_status s = fill_map(&m, sites, value, count, err);
    if (!s && m.layers && m.roles) s = put_map(p, title, &m, err);
    free(m.sum);
    free(m.sum_count);
    return s;
}

/* ---- singular values -------------------------------------------------------------------------------------------------*/

static double weight_of(const ar_site_figures *f) { return isnan(f->strength) ? f->norm_update : f->strength; }

static int by_weight(const void *a, const void *b) {
    double x = weight_of(*(const ar_site_figures *const *)a), y = weight_of(*(const ar_site_figures *const *)b);
    return (x < y) - (x > y);
}

/* Moves the sites that were asked for to the front, and returns their number. */
static ar_status choose(size_t *chosen, const ar_site_figures **order, size_t count, const char *sites, ar_error *err) {
    ar_patterns one = {0};
    ar_pattern_set set = {0};
    ar_status s = ar__patterns_add(&one, sites, 1) ? ar__pattern_set_init(&set, &one, err) : ar__fail_memory(err, "sites");
    *chosen = 0;
    for (size_t i = 0; !s && i < count; i++) {
        double hit = 0;
        s = ar__pattern_set_find_site(&hit, &set, order[i]->site.name, err);
        if (s || hit == 0) continue;
        const ar_site_figures *it = order[i];
        memmove(order + *chosen + 1, order + *chosen, (i - *chosen) * sizeof(const ar_site_figures *));
        order[(*chosen)++] = it;
    }
    if (!s && !*chosen) s = ar__fail(err, AR_ERR_VALUE, "sites: found none that '%s' matches", sites);
    ar__pattern_set_release(&set);
    ar__patterns_release(&one);
    return s;
}

static ar_status put_spectra(ar_report_page *p, const ar_site_figures *const *order, size_t shown, ar_error *err) {
    int most = 1;
    for (size_t i = 0; i < shown; i++)
        if (order[i]->site.rank > most) most = order[i]->site.rank;
    double *x = ar__alloc((size_t)most, sizeof *x);
    ar_series series[8];
    if (!x) return ar__fail_memory(err, "report");
    for (int k = 0; k < most; k++) x[k] = k + 1;
    for (size_t i = 0; i < shown; i++)
        series[i] = (ar_series){order[i]->site.name,         x,      order[i]->singular,
                                (size_t)order[i]->site.rank, (int)i, most <= 32 ? AR_SERIES_BOTH : AR_SERIES_LINE};
    ar__svg_chart(&p->html,
                  &(ar_chart){.title = "Singular values of sBA", .x_label = "number", .series = series, .count = shown, .from_zero = true});
    free(x);
    return AR_OK;
}

/* ---- the table -------------------------------------------------------------------------------------------------------*/

static void put_row(ar_report_page *p, const ar_site_figures *f) {
    static const char align[] = "lrrrrrrr";
    double value[] = {f->strength, f->norm_update, f->site.rank, f->site.alpha, f->site.scale, f->stable_rank, f->rank_99};
    ar__page_row_begin(&p->html, NULL);
    ar__page_cell(&p->html, align, 0, f->site.name);
    for (size_t i = 0; i < sizeof value / sizeof *value; i++) {
        char text[40];
        ar__page_cell(&p->html, align, i + 1, ar__figure(text, "%.4g", value[i]));
    }
    ar__page_row_end(&p->html);
}

static void put_table(ar_report_page *p, const ar_site_figures *const *order, size_t from, size_t to) {
    static const char *const heads[] = {"site", "strength", "‖sBA‖", "rank", "alpha", "s", "stable rank", "rank of 99 %"};
    ar__page_table_begin(&p->html, heads, "lrrrrrrr", 8);
    for (size_t i = from; i < to; i++) put_row(p, order[i]);
    ar__page_table_end(&p->html);
}

static ar_status put_inspection(ar_report_page *p, const ar_inspection *x, bool with_map, ar_error *err) {
    const ar_site_figures **order = ar__alloc(x->count + 1, sizeof(const ar_site_figures *));
    const char **names = ar__alloc(x->count + 1, sizeof *names);
    double *value = ar__alloc(x->count + 1, sizeof *value);
    ar_status s = order && names && value ? AR_OK : ar__fail_memory(err, "report");
    for (size_t i = 0; !s && i < x->count; i++) {
        order[i] = &x->sites[i];
        names[i] = x->sites[i].site.name;
        value[i] = weight_of(&x->sites[i]);
    }
    if (s) goto done;
    for (size_t i = 0; i < x->warning_count; i++) ar__page_note(&p->html, x->warnings[i].text);
    qsort(order, x->count, sizeof(const ar_site_figures *), by_weight);
    size_t shown = x->count < SHOWN ? x->count : SHOWN, table = x->count < TABLE ? x->count : TABLE;
    ar__page_charts_begin(&p->html);
    if (with_map) s = ar__put_sites_map(p, isnan(x->strength) ? "Update ‖sBA‖" : "Strength ‖sBA‖ / ‖W‖", names, value, x->count, err);
    if (!s && p->o->sites) s = choose(&shown, order, x->count, p->o->sites, err);
    if (!s && shown) s = put_spectra(p, order, shown < 8 ? shown : 8, err);
    ar__page_charts_end(&p->html);
    ar__page_fold_begin(&p->html, "the strongest sites");
    qsort(order, x->count, sizeof(const ar_site_figures *), by_weight);
    put_table(p, order, 0, table);
    ar__page_fold_end(&p->html);
done:
    free(order);
    free(names);
    free(value);
    return s;
}

ar_status ar__section_adapter(ar_report_page *p, const char *path, const char *model, bool with_heading, ar_error *err) {
    const ar_adapter_options how = {.model = model, .log = p->rt->log.fn, .log_user = p->rt->log.user};
    ar_adapter *ad = NULL;
    ar_inspection x = {0};
    ar_status s = ar_adapter_open(&ad, path, &how, err);
    if (!s) s = ar_adapter_inspect(&x, ad, p->rt, model, err);
    if (!s && with_heading) {
        ar__buf_puts(&p->html, "<section>\n");
        ar__page_heading(&p->html, 2, path);
        ar__buf_puts(&p->html, "<p>");
        ar__html_printf(&p->html, "%s adapter of %s.", ar_adapter_format(ad),
                        ar_adapter_base(ad) ? ar_adapter_base(ad) : "a base that it does not name");
        ar__buf_puts(&p->html, "</p>\n");
        ar__page_tiles_begin(&p->html);
        ar__page_tile(&p->html, "sites", "%zu", x.count);
        ar__page_tile(&p->html, "million weights", "%.4g", x.parameters / 1e6);
        ar__page_tile(&p->html, "rank", x.rank_min == x.rank_max ? "%d" : "%d … %d", x.rank_min, x.rank_max);
        ar__page_tile(&p->html, "s", x.scale_min == x.scale_max ? "%.4g" : "%.4g … %.4g", x.scale_min, x.scale_max);
        ar__page_tile(&p->html, "‖sBA‖", "%.4g", x.norm_update);
        if (!isnan(x.strength)) ar__page_tile(&p->html, "mean strength", "%.3g", x.strength);
        ar__page_tiles_end(&p->html);
    }
    if (!s) s = put_inspection(p, &x, with_heading, err);
    if (!s && with_heading) ar__buf_puts(&p->html, "</section>\n");
    ar_inspection_release(&x);
    ar_adapter_free(ad);
    return s;
}
