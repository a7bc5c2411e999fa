#include "data/odd.h"

#include <stdio.h>
#include <string.h>

static bool is_taught(const char *role) {
    static const char *const roles[] = {"system",    "developer",   "user",        "assistant",     "tool",    "function",
                                        "ipython",   "environment", "observation", "tool_response", "context", "document",
                                        "documents", "tools",       "tool_call",   "tool_result",   "model"};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (!strcmp(role, roles[i])) return true;
    return false;
}

/* Bit i: some byte is of a message with that mark.  0 is of none. */
static uint32_t marks_of(const ar_rendered *whole) {
    uint32_t seen = 0;
    for (size_t i = 0; i < whole->marks.len; i++) seen |= UINT32_C(1) << ((unsigned char)whole->marks.data[i] / AR_MESSAGE_UNIT);
    return seen;
}

void ar__odd_find(ar_odd *out, const ar_conversation *c, const ar_rendered *whole) {
    uint32_t seen = marks_of(whole);
    *out = (ar_odd){0};
    for (size_t i = 0; i < c->count; i++) {
        const json_t *m = json_array_get(c->messages, i);
        const char *role = json_string_value(json_object_get(m, "role"));
        bool silent = ar__message_is_silent(m), one_of_many = c->count > AR_MESSAGE_CYCLE; /* whose marks are not its own */
        if (!*out->role && !is_taught(role)) snprintf(out->role, sizeof out->role, "%s", role);
        out->empty += silent && c->learn[i] && ar__message_is_from(m, "assistant");
        out->unwritten += !silent && !one_of_many && !(seen >> (1 + i) & 1);
    }
}

size_t ar__odd_silent(const ar_conversation *c) {
    for (size_t i = 0; i < c->count; i++)
        if (ar__message_is_silent(json_array_get(c->messages, i))) return i + 1;
    return 0;
}
