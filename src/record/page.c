#include "record/page.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "alphar/runtime.h"

/* ---- text ------------------------------------------------------------------------------------------------------------*/

/* Bytes of the UTF-8 character at p; 0: none begins there. */
static size_t character(const unsigned char *p) {
    size_t n = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : *p >= 0xe0 && *p < 0xf0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    bool surrogate = n == 3 && p[0] == 0xed && p[1] >= 0xa0,
         overlong = (n == 3 && p[0] == 0xe0 && p[1] < 0xa0) || (n == 4 && p[0] == 0xf0 && p[1] < 0x90);
    bool past = n == 4 && p[0] == 0xf4 && p[1] >= 0x90, control = n == 2 && p[0] == 0xc2 && p[1] < 0xa0;
    return surrogate || overlong || past || control ? 0 : n;
}

void ar__html_text(ar_buf *out, const char *text) {
    for (const unsigned char *p = (const unsigned char *)(text ? text : ""); *p;) {
        size_t n = character(p);
        bool control = (*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f;
        switch (*p) {
        case '&': ar__buf_puts(out, "&amp;"); break;
        case '<': ar__buf_puts(out, "&lt;"); break;
        case '>': ar__buf_puts(out, "&gt;"); break;
        case '"': ar__buf_puts(out, "&quot;"); break;
        default:
            if (n && !control)
                ar__buf_add(out, p, n);
            else
                ar__buf_puts(out, "\xEF\xBF\xBD");
        }
        p += n ? n : 1;
    }
}

static void AR_PRINTF(2, 0) put_formatted(ar_buf *out, const char *format, va_list ap) {
    char text[2048];
    vsnprintf(text, sizeof text, format, ap);
    ar__html_text(out, text);
}

void ar__html_printf(ar_buf *out, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    put_formatted(out, format, ap);
    va_end(ap);
}

/* ---- the page --------------------------------------------------------------------------------------------------------*/

/* Colours 0 … 7 of series are --c0 … --c7. */
static const char style[] =
    ":root{color-scheme:light dark;--bg:#fff;--panel:#f6f7f9;--ink:#1c2430;--soft:#5b6675;--line:#dfe3e8;--note:#fff6e0;--edge:#e0a100;"
    "--heat:#1d4ed8;"
    "--c0:#1d4ed8;--c1:#c2410c;--c2:#15803d;--c3:#9333ea;--c4:#0e7490;--c5:#a16207;--c6:#be185d;--c7:#475569}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#12161c;--panel:#1a2028;--ink:#e6eaf0;--soft:#9aa6b5;--line:#303945;--note:#2b2412;"
    "--edge:#b98900;--heat:#7ca6ff;"
    "--c0:#7ca6ff;--c1:#ff9d6b;--c2:#6bd48b;--c3:#c79bff;--c4:#5fd0e6;--c5:#e5c04d;--c6:#ff8ab5;--c7:#a8b3c2}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}\n"
    "main{max-width:1180px;margin:0 auto;padding:24px 32px 64px}\n"
    "h1{font-size:1.7rem;line-height:1.2;margin:.4em 0 .1em}h2{font-size:1.3rem;margin:2.2em 0 .3em;padding-top:.9em;border-top:1px solid "
    "var(--line)}h3{font-size:1rem;margin:1.6em 0 .4em}\n"
    "h1,h2{overflow-wrap:anywhere}p{margin:.3em 0;max-width:75ch}.soft{color:var(--soft)}\n"
    ".tiles{display:flex;flex-wrap:wrap;gap:10px;margin:1em 0}.tile{background:var(--panel);border-radius:8px;padding:10px 16px;min-width:"
    "8.5em}\n"
    ".tile b{display:block;font-size:1.35rem;font-weight:600;font-variant-numeric:tabular-nums}.tile span{color:var(--soft);font-size:"
    ".85rem}\n"
    ".note{background:var(--note);border-left:4px solid var(--edge);padding:8px 14px;margin:.6em 0;border-radius:0 6px 6px 0;max-width:"
    "none}\n"
    ".charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,420px),1fr));gap:16px;margin:1em 0}\n"
    "figure{margin:0;background:var(--panel);border-radius:8px;padding:10px 12px;min-width:0}\n"
    ".entry{display:inline-block;margin-right:12px;overflow-wrap:anywhere}figcaption{font-size:.85rem;color:var(--soft);padding:2px 6px}\n"
    "svg{display:block;width:100%;height:auto}svg "
    "text{font-size:13px;fill:var(--soft);paint-order:stroke;stroke:var(--panel);stroke-width:3px}svg "
    ".title{fill:var(--ink);font-size:14px;"
    "font-weight:600}\n"
    ".grid{stroke:var(--line);fill:none}.mark{stroke:var(--soft);stroke-dasharray:4 3;fill:none}.line{fill:none;stroke-width:2;"
    "stroke-linejoin:round}.faint{stroke-width:1;stroke-opacity:.35}.strong{stroke-width:3}.dot{stroke:var(--panel);stroke-width:1}\n"
    ".cell{fill:var(--heat);stroke:var(--line);stroke-width:.5}\n"
    ".key{margin-right:4px}.key.faint{opacity:.4}\n"
    ".c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}.c5{--c:var(--c5)}.c6{--c:var(--c6)}.c7{--c:"
    "var("
    "--c7)}\n"
    ".line,.ring{stroke:var(--c)}.dot{fill:var(--c)}.ring{fill:var(--panel);stroke-width:2}.key{color:var(--c)}\n"
    ".scroll{overflow-x:auto;min-width:0;margin:.8em "
    "0}table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}th{text-align:"
    "left;color:var(--soft);font-weight:500}th,td{padding:4px 14px 4px 0;border-bottom:1px solid var(--line);white-space:nowrap}.r{"
    "text-align:right}.best td{font-weight:600;color:var(--c2)}.soft td{color:var(--soft)}\n"
    "pre{background:var(--panel);border-radius:8px;padding:12px 14px;overflow-x:auto;font:13px/1.5 ui-monospace,Menlo,Consolas,monospace;"
    "white-space:pre-wrap;overflow-wrap:anywhere}\n"
    "details{margin:.8em 0}summary{cursor:pointer;color:var(--soft)}\n"
    "@media(max-width:640px){main{padding:12px 16px 48px}svg text{font-size:17px}svg .title{font-size:18px}.tile{flex:1 1 40%;min-width:0}}"
    "\n"
    "@media print{body{font-size:12px}figure,.tile{break-inside:avoid}}\n";

void ar__page_begin(ar_buf *out, const char *title) {
    char when[40] = "";
    time_t now = time(NULL);
    struct tm local;
    if (localtime_r(&now, &local)) strftime(when, sizeof when, "%Y-%m-%d %H:%M", &local);
    ar__buf_printf(out, "<!DOCTYPE html>\n" AR_PAGE_MARK " %s -->\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n", ar_version());
    ar__buf_puts(out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    ar__html_text(out, title);
    ar__buf_puts(out, "</title>\n<style>\n");
    ar__buf_puts(out, style);
    ar__buf_puts(out, "</style>\n</head>\n<body>\n<main>\n<h1>");
    ar__html_text(out, title);
    ar__buf_printf(out, "</h1>\n<p class=\"soft\">Alphar %s, %s</p>\n", ar_version(), when);
}

void ar__page_end(ar_buf *out) { ar__buf_puts(out, "</main>\n</body>\n</html>\n"); }

/* ---- pieces ----------------------------------------------------------------------------------------------------------*/

static void put_element(ar_buf *out, const char *open, const char *text, const char *close) {
    ar__buf_puts(out, open);
    ar__html_text(out, text);
    ar__buf_puts(out, close);
}

void ar__page_heading(ar_buf *out, int level, const char *text) {
    ar__buf_printf(out, "<h%d>", level);
    ar__html_text(out, text);
    ar__buf_printf(out, "</h%d>\n", level);
}

void ar__page_note(ar_buf *out, const char *text) { put_element(out, "<p class=\"note\">", text, "</p>\n"); }
void ar__page_code(ar_buf *out, const char *text) { put_element(out, "<pre>", text, "</pre>\n"); }

void ar__page_tiles_begin(ar_buf *out) { ar__buf_puts(out, "<div class=\"tiles\">\n"); }

void ar__page_tile(ar_buf *out, const char *what, const char *format, ...) {
    va_list ap;
    ar__buf_puts(out, "<div class=\"tile\"><b>");
    va_start(ap, format);
    put_formatted(out, format, ap);
    va_end(ap);
    put_element(out, "</b><span>", what, "</span></div>\n");
}

void ar__page_tiles_end(ar_buf *out) { ar__buf_puts(out, "</div>\n"); }

const char *ar__figure(char out[40], const char *format, double x) {
    snprintf(out, 40, isfinite(x) ? format : "–", x);
    return out;
}

void ar__page_number(ar_buf *out, const char *what, const char *format, double x) {
    char text[40];
    ar__page_tile(out, what, "%s", ar__figure(text, format, x));
}

static void put_cell(ar_buf *out, const char *tag, char align, const char *text) {
    ar__buf_printf(out, "<%s%s>", tag, align == 'r' ? " class=\"r\"" : "");
    ar__html_text(out, text);
    ar__buf_printf(out, "</%s>", tag);
}

void ar__page_table_begin(ar_buf *out, const char *const *heads, const char *align, size_t columns) {
    ar__buf_puts(out, "<div class=\"scroll\"><table>\n<thead><tr>");
    for (size_t i = 0; i < columns; i++) put_cell(out, "th", align[i], heads[i]);
    ar__buf_puts(out, "</tr></thead>\n<tbody>\n");
}

void ar__page_row_begin(ar_buf *out, const char *class_name) {
    if (class_name)
        ar__buf_printf(out, "<tr class=\"%s\">", class_name);
    else
        ar__buf_puts(out, "<tr>");
}

void ar__page_cell(ar_buf *out, const char *align, size_t column, const char *text) { put_cell(out, "td", align[column], text); }
void ar__page_row_end(ar_buf *out) { ar__buf_puts(out, "</tr>\n"); }
void ar__page_table_end(ar_buf *out) { ar__buf_puts(out, "</tbody>\n</table></div>\n"); }

void ar__page_fold_begin(ar_buf *out, const char *summary) { put_element(out, "<details><summary>", summary, "</summary>\n"); }
void ar__page_fold_end(ar_buf *out) { ar__buf_puts(out, "</details>\n"); }

void ar__page_charts_begin(ar_buf *out) { ar__buf_puts(out, "<div class=\"charts\">\n"); }
void ar__page_charts_end(ar_buf *out) { ar__buf_puts(out, "</div>\n"); }
