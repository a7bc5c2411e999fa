#include "train/scales.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/site_name.h"
#include "base/fail.h"
#include "base/mem.h"

/* The experts of a stack are one site: a file has one alpha for them. */
static void name_group(char *out, size_t size, const char *site, ar_scale_groups groups) {
    switch (groups) {
    case AR_SCALES_BY_SITE: snprintf(out, size, "%.*s", (int)strcspn(site, "["), site); break;
    case AR_SCALES_BY_ROLE: snprintf(out, size, "%.*s", (int)strcspn(ar__site_role(site), "["), ar__site_role(site)); break;
    case AR_SCALES_BY_LAYER:
        if (ar__site_layer(site) < 0)
            snprintf(out, size, "%s", site);
        else
            snprintf(out, size, "layer %ld", ar__site_layer(site));
        break;
    case AR_SCALES_AS_ONE: snprintf(out, size, "all"); break;
    }
}

/* The group of that name, a new one where there is none yet; SIZE_MAX without memory. */
static size_t group_named(ar_scales *s, const char *name) {
    for (size_t g = 0; g < s->count; g++)
        if (!strcmp(s->name[g], name)) return g;
    s->name[s->count] = ar__strdup(name);
    return s->name[s->count] ? s->count++ : SIZE_MAX;
}

ar_status ar__scales_open(ar_scales *out, ar_attachment *at, ar_scale_groups groups, ar_error *err) {
    const ar_adapter *ad = at->adapter;
    size_t n = ad->pair_count;
    *out = (ar_scales){.delta = ar__alloc(n, sizeof *out->delta),
                       .gradient = ar__alloc(n, sizeof *out->gradient),
                       .rt = at->model->rt,
                       .name = ar__alloc(n, sizeof *out->name),
                       .group = ar__alloc(n, sizeof *out->group),
                       .start = ar__alloc(n, sizeof *out->start),
                       .slope = ar__alloc(n, sizeof *out->slope),
                       .second = ar__alloc(n, sizeof *out->second)};
    bool ok = out->delta && out->gradient && out->name && out->group && out->start && out->slope && out->second;
    for (size_t i = 0; ok && i < n; i++) {
        char name[512];
        name_group(name, sizeof name, ad->pair[i].site, groups);
        size_t g = group_named(out, name);
        ok = g != SIZE_MAX;
        out->group[i] = (uint32_t)g;
        out->start[i] = ad->pair[i].scale;
        at->ops[at->module[i]].dscale = &out->slope[i];
        if (at->second[i] != SIZE_MAX) at->ops[at->second[i]].dscale = &out->second[i];
    }
    if (ok) ok = out->rt->ops->memory->mirror(out->rt, out->delta, n * sizeof *out->delta);
    if (ok) out->known = n;
    if (ok) return AR_OK;
    ar__scales_release(out);
    return ar__fail_memory(err, "scales");
}

void ar__scales_release(ar_scales *s) {
    for (size_t g = 0; s->name && g < s->count; g++) free(s->name[g]);
    free(s->name);
    if (s->known) s->rt->ops->memory->unmirror(s->rt, s->delta);
    free(s->delta);
    free(s->gradient);
    free(s->group);
    free(s->start);
    free(s->slope);
    free(s->second);
    *s = (ar_scales){0};
}

void ar__scales_zero(ar_scales *s, const ar_attachment *at) {
    memset(s->slope, 0, at->adapter->pair_count * sizeof *s->slope);
    memset(s->second, 0, at->adapter->pair_count * sizeof *s->second);
}

void ar__scales_gather(float *grad, const ar_scales *s, const ar_attachment *at) {
    const ar_memory *memory = s->rt->ops->memory;
    memory->read(s->rt, s->gradient, grad, s->count * sizeof *grad);
    for (size_t g = 0; g < s->count; g++) {
        double sum = 0.0;
        for (size_t i = 0; i < at->adapter->pair_count; i++)
            if (s->group[i] == g) sum += s->start[i] * (s->slope[i] + s->second[i]);
        s->gradient[g] += (float)sum;
    }
    memory->write(s->rt, grad, s->gradient, s->count * sizeof *grad);
}

void ar__scales_put(const ar_scales *s) { s->rt->ops->memory->put(s->rt, s->delta, s->count * sizeof *s->delta); }

void ar__scales_apply(const ar_scales *s, ar_attachment *at, ar_pair_op *others) {
    s->rt->ops->memory->get(s->rt, s->delta, s->count * sizeof *s->delta);
    for (size_t i = 0; i < at->adapter->pair_count; i++) {
        ar_pair *p = &at->adapter->pair[i];
        double scale = s->start[i] * (1.0 + (double)s->delta[s->group[i]]);
        p->alpha = ar__policy_alpha(p->policy, scale, p->rank);
        p->scale = ar__policy_scale(p->policy, p->alpha, p->rank); /* what a reader of alpha computes */
        ar__attach_set_scale(at, at->ops, i, p->scale);
        if (others) ar__attach_set_scale(at, others, i, p->scale);
    }
}
