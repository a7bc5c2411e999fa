/* A runtime with its operators, which kern/ does not know. */
#include "ops/ops.h"

ar_status ar_runtime_new(ar_runtime **out, const ar_runtime_options *options, ar_error *err) {
    ar_status s = ar__runtime_new(out, options, err);
    if (!s) ar__runtime_use_ops(*out, &ar__ops_cpu);
    return s;
}

void ar__runtime_use_ops(ar_runtime *rt, const ar_ops *ops) { rt->ops = ops; }
