/* Text that is escaped for HTML already (Markup), and escaping. */
#ifndef AR_TEXT_TEMPLATE_MARKUP_H
#define AR_TEXT_TEMPLATE_MARKUP_H

#include "text/template/run.h"

/* Writes the text, with & < > " ' escaped where asked for. */
void ar__j_put_escaped(ar_jinja *j, const ar_jstr *s, bool escape);
/* As markupsafe.escape: text that is Markup stays. */
bool ar__j_escape(ar_jvalue *out, ar_jinja *j, ar_jvalue v);
/* A Markup of the text as it stands. */
bool ar__j_mark_safe(ar_jvalue *out, ar_jinja *j, ar_jstr *s);

#endif
