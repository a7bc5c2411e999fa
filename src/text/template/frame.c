#include "text/template/frame.h"

bool ar__j_is_constant(const ar_jnode *n) {
    if (!n) return true;
    switch (n->kind) {
    case AR_N_NAME:
    case AR_N_CALL:
    case AR_N_ATTR: return false;
    default: break;
    }
    for (const ar_jnode *i = n->list; i; i = i->next)
        if (!ar__j_is_constant(i)) return false;
    return ar__j_is_constant(n->a) && ar__j_is_constant(n->b) && ar__j_is_constant(n->c);
}

typedef struct frame {
    ar_template *t;
    bool *met; /* by name: read or set already */
    bool ok;
} frame;

static void read_all(frame *f, const ar_jnode *n) {
    for (; n; n = n->next) {
        if (n->kind == AR_N_NAME || n->kind == AR_N_NS_ATTR) f->met[n->id] = true;
        read_all(f, n->list);
        const ar_jnode *const parts[] = {n->a, n->b, n->c};
        for (int i = 0; i < 3; i++)
            if (parts[i]) read_all(f, parts[i]);
    }
}

static void set_name(frame *f, uint32_t id, bool branch) {
    ar_template *t = f->t;
    if (!branch && !f->met[id]) {
        uint32_t *grown = ar__jpool_grow(&t->pool, t->late, &t->late_cap, t->late_count + 1, sizeof *grown);
        f->ok = f->ok && grown;
        if (grown) {
            t->late = grown;
            t->late[t->late_count++] = id;
        }
    }
    f->met[id] = true;
}

static void set_target(frame *f, const ar_jnode *n, bool branch) {
    if (n->kind == AR_N_NAME) set_name(f, n->id, branch);
    if (n->kind == AR_N_NS_ATTR) f->met[n->id] = true;
    for (const ar_jnode *i = n->kind == AR_N_TUPLE ? n->list : NULL; i; i = i->next) set_target(f, i, branch);
}

/* One expression, without what stands beside it. */
static void read_one(frame *f, const ar_jnode *n) {
    if (!n) return;
    ar_jnode alone = *n;
    alone.next = NULL;
    read_all(f, &alone);
}

/* Bodies of loops, macros and blocks have variables of their own. */
static void visit(frame *f, const ar_jnode *n, bool branch) {
    for (; n; n = n->next) switch (n->kind) {
        case AR_N_PRINT: read_one(f, n->a); break;
        case AR_N_SCOPE: /* {% print %}, or a block, where it does not matter */ visit(f, n->list, branch); break;
        case AR_N_SET:
            read_one(f, n->b);
            set_target(f, n->a, branch);
            break;
        case AR_N_SET_BLOCK: set_target(f, n->a, branch); break;
        case AR_N_MACRO: set_name(f, n->id, branch); break;
        case AR_N_FOR: read_one(f, n->b); break;
        case AR_N_CALL_BLOCK:
        case AR_N_FILTER_BLOCK: read_one(f, n->a); break;
        case AR_N_IF:
            read_one(f, n->a);
            visit(f, n->list, true);
            visit(f, n->other, true);
            break;
        case AR_N_WITH:
            for (const ar_jnode *i = n->other; i; i = i->next) read_one(f, i->b);
            break;
        default: break;
        }
}

bool ar__j_find_late(ar_template *t) {
    frame f = {.t = t, .ok = true};
    f.met = ar__jpool_take(&t->pool, t->name_count * sizeof *f.met + 1);
    if (!f.met) return false;
    visit(&f, t->body, false);
    return f.ok;
}
