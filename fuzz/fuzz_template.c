/* A template and, behind a NUL byte, the JSON object of its values; without one, values of every kind. */
#include <string.h>

#include "fuzz.h"
#include "text/template/template.h"
#include "text/utf8.h"

static const char standard[] =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"h\u00e9 <x>\"}, {\"role\": \"assistant\", \"content\": [{\"type\": \"text\", "
    "\"text\": \"a\"}]}],"
    " \"tools\": [{\"name\": \"t\", \"n\": 1.5, \"none\": null}], \"bos_token\": \"<s>\", \"x\": 3, \"s\": \"aXbXc\", \"xs\": [3, 1, 2],"
    " \"d\": {\"b\": 1, \"a\": [true, 0.5]}, \"add_generation_prompt\": true}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *source = (const char *)data, *nul = memchr(data, 0, size);
    size_t n = nul ? (size_t)(nul - source) : size;
    json_t *values = nul ? json_loadb(nul + 1, size - n - 1, 0, NULL) : NULL;
    if (!json_is_object(values)) {
        json_decref(values);
        values = json_loads(standard, 0, NULL);
    }
    ar_template *t;
    ar_rendered out = {0};
    if (!ar__template_parse(&t, source, n, NULL)) {
        if (!ar__template_render(&out, t, values, 0, NULL)) {
            fuzz_check(out.text.len == out.marks.len, "each byte has a mark");
            fuzz_check(ar__utf8_valid(out.text.data ? out.text.data : "", out.text.len) == out.text.len, "the text is UTF-8");
            fuzz_touch(out.marks.data, out.marks.len);
        }
        ar__template_free(t);
    }
    ar__rendered_release(&out);
    json_decref(values);
    return 0;
}
