/* Templates: what they render to (Jinja2's answers; tests/oracle/template.py compares thousands more), where each byte came from, and
 * that no template runs away. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text/template/template.h"
#include "util.h"

static const char values[] =
    "{\"messages\": [{\"role\": \"user\", \"content\": \" h\u00e9 <x> \"}, {\"role\": \"assistant\", \"content\": \"yes\"}],"
    " \"tools\": [{\"name\": \"t\", \"n\": 1.0, \"none\": null}], \"bos_token\": \"<s>\", \"xs\": [3, 1, 2], \"d\": {\"b\": 1, \"a\": "
    "[true, 0.5]},"
    " \"tree\": [{\"n\": \"1\", \"sub\": [{\"n\": \"1.1\", \"sub\": []}]}, {\"n\": \"2\", \"sub\": []}]}";

static ar_status render(ar_rendered *out, const char *template, ar_error *err) {
    json_t *v = json_loads(values, 0, NULL);
    ar_template *t;
    ar_status s = ar__template_parse(&t, template, strlen(template), err);
    if (!s) s = ar__template_render(out, t, v, 0, err);
    ar__template_free(t);
    json_decref(v);
    return s;
}

static void assert_renders(const char *template, const char *want) {
    ar_rendered out = {0};
    ar_error err;
    assert_ok(render(&out, template, &err), err);
    assert_string_equal(out.text.data ? out.text.data : "", want);
    ar__rendered_release(&out);
}

static void assert_refuses(const char *template, const char *part) {
    ar_rendered out = {0};
    ar_error err = {0};
    ar_status s = render(&out, template, &err);
    assert_true(s == AR_ERR_VALUE || s == AR_ERR_FORMAT);
    if (!strstr(err.message, part)) fail_msg("'%s' lacks '%s'", err.message, part);
    ar__rendered_release(&out);
}

static void operators_bind_as_in_jinja2(void **state) {
    (void)state;
    assert_renders("{{ -2 ** 2 }} {{ 2 ** 3 ** 2 }} {{ 7 // -2 }} {{ -7 % 3 }} {{ 2 ~ 3 * 4 }}", "4 64 -4 2 212");
    assert_renders("{{ 1 < 2 < 2 }} {{ not 1 == 2 }} {{ 'a' if false }}|{{ 3 in xs and 5 not in xs }}", "False True |True");
    assert_renders("{{ 'ab' * 2 }}{{ [1] + [2] }}{{ 1 / 2 }}{{ 4 / 2 }}{{ 1e16 }}{{ 0.1 + 0.2 }}",
                   "abab[1, 2]0.52.01e+160.30000000000000004");
    assert_renders("{{ 'h\u00e9llo'[1:3] }}{{ 'h\u00e9llo'[::-1] }}{{ xs[-1] }}{{ xs[9] }}{{ 'h\u00e9'|length }}", "\u00e9loll\u00e9h22");
}

static void values_print_as_in_python(void **state) {
    (void)state;
    assert_renders("{{ d }}", "{'b': 1, 'a': [True, 0.5]}");
    assert_renders("{{ [none, 'it\\'s', \"q\\\"\", 1.0, (1,)] }}", "[None, \"it's\", 'q\"', 1.0, (1,)]");
    assert_renders("{{ tools[0] | tojson }}", "{\"name\": \"t\", \"n\": 1.0, \"none\": null}");
    assert_renders("{{ d | tojson(indent=1) }}", "{\n \"b\": 1,\n \"a\": [\n  true,\n  0.5\n ]\n}");
    assert_renders("{{ nothing }}{{ nothing is defined }}{{ none }}", "FalseNone");
}

static void statements_have_their_scopes(void **state) {
    (void)state;
    assert_renders("{% set n = namespace(i=0) %}{% set i = 0 %}{% for x in xs %}{% set i = i + 1 %}{% set n.i = n.i + x %}{% endfor %}{{ i "
                   "}}{{ n.i }}",
                   "06");
    assert_renders("{% for x in xs if x > 1 %}{{ loop.index }}{{ x }}{{ ',' if not loop.last }}{% else %}none{% endfor %}", "13,22");
    assert_renders("{% for t in tree recursive %}{{ t.n }}{{ loop.depth }} {{ loop(t.sub) }}{% endfor %}", "11 1.12 21 ");
    assert_renders("{% for x in xs %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% if x == 2 %}{% break %}{% endif %}{% endfor %}",
                   "32");
    assert_renders("{% macro m(a, b='B') %}[{{ a }}{{ b }}{{ caller() if caller }}]{% endmacro %}{{ m(1) }}{{ m(b=2, a=1) }}"
                   "{% call m('x') %}c{% endcall %}",
                   "[1B][12][xBc]");
    assert_renders("{% set t %}a{{ 1 }}{% endset %}{{ t | upper }}{% filter upper %}b{% endfilter %}", "A1B");
    assert_renders("{% raw %}{{ x }}{% endraw %}{# no #}{% generation %}g{% endgeneration %}", "{{ x }}g");
}

static void white_space_is_controlled(void **state) {
    (void)state;
    assert_renders("a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc");
    assert_renders("a  {%- if true -%}  b  {%- endif %}\n  c", "ab  c");
    assert_renders("a\n  {%+ if true %}b{% endif +%}\nc", "a\n  b\nc");
    assert_renders("a\r\n{{ 1 }}\r\n\r\n", "a\n1\n");
}

static void refusals_name_the_line(void **state) {
    (void)state;
    assert_refuses("\n{{ raise_exception('roles must alternate') }}", "line 2: the template refuses: roles must alternate");
    assert_refuses("{{ messages[0].nope.x }}", "'dict object' has no attribute 'nope'");
    assert_refuses("{{ xs.append(1) }}", "unsafe");
    assert_refuses("\n\n{% if %}", "line 3");
    assert_refuses("{% for x in xs %}", "wanted {% endfor %}");
    assert_refuses("{{ 1 + 'a' }}", "'+' does not stand between int and str");
    assert_refuses("{{ 1 | nope }}", "there is no filter 'nope'");
}

/* The marks as letters: . the template's, o from outside, a the assistant's; in capitals (or :) inside generation. */
static void assert_marked(const char *template, const char *want) {
    ar_rendered out = {0};
    ar_error err;
    char got[200] = {0};
    assert_ok(render(&out, template, &err), err);
    assert_int_equal(out.text.len, out.marks.len);
    for (size_t i = 0; i < out.marks.len && i < sizeof got - 1; i++)
        got[i] = (out.marks.data[i] & AR_LEARNED ? ":OA" : ".oa")[out.marks.data[i] & AR_FROM_MASK];
    assert_string_equal(got, want);
    ar__rendered_release(&out);
}

static void bytes_know_where_they_came_from(void **state) {
    (void)state;
    assert_marked("{{ bos_token }}{{ messages[0].content | trim }}!", "...ooooooo.");
    assert_marked("{{ messages[0].role ~ ': ' + messages[1].content | upper }}", "......aaa"); /* a role is a word of the template's */
    assert_marked("{% set x = '[' ~ messages[1].content ~ ']' %}{{ x[1:] }}{{ x.replace('y', '##') }}", "aaa....aa.");
    assert_marked("{{ tools | tojson }}", "...oooo....o....o.........oooo.........");
}

static void generation_marks_what_is_learned(void **state) {
    (void)state;
    assert_marked("a{% generation %}{{ messages[1].content }}b{% endgeneration %}c", ".AAA:.");
    assert_marked("{% macro m() %}{% generation %}x{% endgeneration %}y{% endmacro %}0{{ m() }}", ".:.");
}

static void no_template_runs_away(void **state) {
    (void)state;
    static const char *const templates[] = {
        "{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ 'x' * 1000000000 }}",
        "{% set n = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(40) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s }}",
        "{% for a in range(100000) %}{% for b in range(100000) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
        "{% for t in tree recursive %}{{ loop(tree) }}{% endfor %}",
        "{{ '%1000000000d' % 1 }}",
        "{{ [0] * 1000000000 }}",
        "{{ range(100000) | map('string') | join('x') | list | unique | list | length * 0 ~ ('ab' * 9999999) | reverse }}",
        "{{ 'a'.center(9999999999) }}",
    };
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) assert_refuses(templates[i], "line 1: ");
    char *deep = malloc(300010);
    for (int kind = 0; kind < 4; kind++) {
        static const char *const part[] = {"(", "not ", "[", "1+"};
        size_t n = strlen(part[kind]);
        memcpy(deep, "{{", 2);
        for (size_t i = 0; i < 100000 / n; i++) memcpy(deep + 2 + n * i, part[kind], n);
        strcpy(deep + 2 + 100000 / n * n, "1}}"); /* NOLINT */
        assert_refuses(deep, "line 1: ");
    }
    free(deep);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operators_bind_as_in_jinja2),      cmocka_unit_test(values_print_as_in_python),
        cmocka_unit_test(statements_have_their_scopes),     cmocka_unit_test(white_space_is_controlled),
        cmocka_unit_test(refusals_name_the_line),           cmocka_unit_test(bytes_know_where_they_came_from),
        cmocka_unit_test(generation_marks_what_is_learned), cmocka_unit_test(no_template_runs_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
