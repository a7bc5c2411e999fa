/* The filters and tests, by what they work on.  tests/oracle/template.py compares each with Jinja2's. */
#ifndef AR_TEXT_TEMPLATE_FILTERS_H
#define AR_TEXT_TEMPLATE_FILTERS_H

#include "text/template/run.h"

#define AR_J_FILTER(name) bool ar__j_filter_##name(ar_jvalue *out, ar_jinja *j, ar_jvalue in, const ar_jargs *args)

/* text */
AR_J_FILTER(capitalize);
AR_J_FILTER(center);
AR_J_FILTER(escape);
AR_J_FILTER(forceescape);
AR_J_FILTER(format);
AR_J_FILTER(indent);
AR_J_FILTER(lower);
AR_J_FILTER(replace);
AR_J_FILTER(safe);
AR_J_FILTER(string);
AR_J_FILTER(striptags);
AR_J_FILTER(title);
AR_J_FILTER(tojson);
AR_J_FILTER(trim);
AR_J_FILTER(truncate);
AR_J_FILTER(upper);
AR_J_FILTER(urlencode);
AR_J_FILTER(wordcount);
AR_J_FILTER(wordwrap);
AR_J_FILTER(xmlattr);
/* numbers and anything */
AR_J_FILTER(abs);
AR_J_FILTER(attr);
AR_J_FILTER(default);
AR_J_FILTER(filesizeformat);
AR_J_FILTER(float);
AR_J_FILTER(int);
AR_J_FILTER(length);
AR_J_FILTER(round);
/* lists and dicts */
AR_J_FILTER(batch);
AR_J_FILTER(dictsort);
AR_J_FILTER(first);
AR_J_FILTER(groupby);
AR_J_FILTER(items);
AR_J_FILTER(join);
AR_J_FILTER(last);
AR_J_FILTER(list);
AR_J_FILTER(map);
AR_J_FILTER(max);
AR_J_FILTER(min);
AR_J_FILTER(reject);
AR_J_FILTER(rejectattr);
AR_J_FILTER(reverse);
AR_J_FILTER(select);
AR_J_FILTER(selectattr);
AR_J_FILTER(slice);
AR_J_FILTER(sort);
AR_J_FILTER(sum);
AR_J_FILTER(unique);

/* Sorts items by their keys (as many), stable. */
bool ar__j_sort(ar_jinja *j, ar_jlist *items, const ar_jlist *keys, bool reverse);

#endif
