#include "advise_json.h"

/* The container, or NULL where something did not get into it. */
static json_t *whole(json_t *container, int bad) {
    if (!bad) return container;
    json_decref(container);
    return NULL;
}

static json_t *number_or_null(double x) { return x > 0.0 ? cli_json_real(x) : json_null(); }

static json_t *recipe_json(const ar_recipe *r) {
    return json_pack("{s:i, s:o, s:s, s:o, s:o, s:o, s:o, s:s, s:b}", "rank", r->rank, "alpha", cli_json_real(r->alpha), "policy",
                     ar_policy_name(r->policy), "scale", cli_json_real(r->scale), "lr", number_or_null(r->lr), "lr_ratio",
                     cli_json_real(r->lr_ratio), "scale_lr", number_or_null(r->scale * r->lr), "optimizer",
                     r->optimizer == AR_OPTIMIZER_SGD ? "sgd" : "adamw", "dora", r->dora);
}

/* A whole number as an integer, so that it can be pasted where nothing else is taken. */
static json_t *value_json(const ar_advice_value *v) {
    if (v->kind == AR_VALUE_FLAG) return json_boolean(v->value != 0.0);
    if (v->value < 1e15 && v->value == (double)(json_int_t)v->value) return json_integer((json_int_t)v->value);
    return cli_json_real(v->value);
}

static json_t *tool_json(const ar_advice_tool *t) {
    json_t *settings = json_object(), *notes = json_array();
    int bad = 0;
    for (int i = 0; i < t->value_count; i++) bad |= json_object_set_new(settings, t->value[i].name, value_json(&t->value[i]));
    for (int i = 0; i < t->note_count; i++) bad |= json_array_append_new(notes, json_string(t->notes[i]));
    return json_pack("{s:s, s:o, s:s, s:o, s:o, s:o}", "name", t->title, "settings", whole(settings, bad), "text", t->text, "scale",
                     cli_json_real(t->scale), "b_factor", cli_json_real(t->b_factor), "notes", notes);
}

static json_t *tools_json(const ar_advice *a) {
    json_t *tools = json_object();
    int bad = 0;
    for (int i = 0; i < AR_ADVICE_TOOLS; i++) bad |= json_object_set_new(tools, a->tools[i].key, tool_json(&a->tools[i]));
    return whole(tools, bad);
}

static json_t *notes_json(const ar_advice_note *list, int count) {
    json_t *array = json_array();
    int bad = 0;
    for (int i = 0; i < count; i++)
        bad |= json_array_append_new(array, json_pack("{s:s, s:s}", "code", list[i].code, "text", list[i].text));
    return whole(array, bad);
}

static json_t *groups_json(const advise_result *r) {
    json_t *array = json_array();
    int bad = 0;
    for (int i = 0; i < r->group_count; i++) {
        const ar_recipe_group *g = &r->groups[i];
        bad |=
            json_array_append_new(array, json_pack("{s:i, s:o, s:s, s:o, s:i}", "rank", g->rank, "alpha", cli_json_real(g->alpha), "policy",
                                                   ar_policy_name(g->policy), "scale", cli_json_real(g->scale), "count", g->sites));
    }
    return whole(array, bad);
}

double cli_advise_change(const advise_result *r) {
    const ar_recipe *to = &r->advice.recipe;
    return to->scale / r->from.scale * (to->lr > 0.0 ? to->lr / r->from.lr : 1.0);
}

static json_t *changed_json(const advise_result *r) {
    return json_pack("{s:s, s:o, s:o}", "keep", ar_keep_name(r->keep), "scale", cli_json_real(r->advice.recipe.scale / r->from.scale),
                     "scale_lr", cli_json_real(cli_advise_change(r)));
}

json_t *cli_advise_json(const advise_result *r) {
    const ar_advice *a = &r->advice;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "settings", recipe_json(&a->recipe), "from",
                     r->moved ? recipe_json(&r->from) : json_null(), "changed", r->moved ? changed_json(r) : json_null(),
                     "lr_ratio_equivalent", cli_json_real(ar_recipe_ratio(&a->recipe)), "tools", tools_json(a), "assumptions",
                     notes_json(a->assumptions, a->assumption_count), "conventions", notes_json(a->conventions, a->convention_count),
                     "warnings", notes_json(a->warnings, a->warning_count), "sites", groups_json(r));
}
