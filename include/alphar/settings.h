/* The settings of a training, as a table: one row each, from which the program's options, configuration files, defaults, checks,
 * run.json, what --resume may change and the manual page come. */
#ifndef ALPHAR_SETTINGS_H
#define ALPHAR_SETTINGS_H

#include <stddef.h>

#include "alphar/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ar_setting_type {
    AR_SETTING_SECTION, /* no setting: a heading, over those that follow */
    AR_SETTING_FLAG,    /* bool */
    AR_SETTING_INT,     /* int */
    AR_SETTING_LONG,    /* int64_t */
    AR_SETTING_BYTES,   /* int64_t, as in 3G */
    AR_SETTING_NUMBER,  /* double */
    AR_SETTING_CHOICE,  /* an enum: the place in `choices` */
    AR_SETTING_TEXT,    /* const char *; NULL: none */
    AR_SETTING_NAMES,   /* the same: names with commas between them */
    AR_SETTING_PATH,    /* the same: what is read from the disk */
    AR_SETTING_TEXTS,   /* ar_texts */
    AR_SETTING_FILES    /* the same: samples, read in this order */
} ar_setting_type;

enum {
    AR_SETTING_ABOVE = 1,     /* `least` itself is out */
    AR_SETTING_BELOW = 2,     /* `most` itself is out */
    AR_SETTING_OR_ZERO = 4,   /* 0 stands for "not asked for" */
    AR_SETTING_NEGATABLE = 8, /* a flag with --no-NAME */
    AR_SETTING_FIRST = 16,    /* what one needs: --help shows it before all sections */
    AR_SETTING_RESUME = 32,   /* does not touch the course of a run: resuming may change it */
    AR_SETTING_PASSING = 64,  /* of one call, not of the run: not in run.json */
    AR_SETTING_RANKS = 128    /* as text it may also be a multiple of the rank: 2r */
};

typedef struct ar_setting {
    const char *name; /* without dashes: of the option, in run.json, in a configuration file */
    ar_setting_type type;
    size_t offset;       /* in ar_train_options */
    size_t given;        /* there: of a bool that says whether it was asked for; 0: there is none */
    const char *initial; /* the default as text; NULL: zero, none */
    double least, most;  /* of numbers; most 0: any that the type holds */
    unsigned flags;
    const char *choices; /* "cosine|linear|constant", in the order of the enum */
    const char *value;   /* what --help shows for a value; NULL: the choices */
    const char *shown;   /* what --help shows for the default, where that is another text */
    const char *word;    /* "auto": taken besides a number, and means 0 */
    const char *help;    /* of its row on --help; NULL: it shares the row of the next one */
    const char *about;   /* what it does, where `help` speaks of several */
} ar_setting;

/* What of the options a setting belongs to (alphar/train.h). */
typedef enum ar_setting_part { AR_PART_COURSE, AR_PART_LEARNER, AR_PART_RUN } ar_setting_part;

/* All of them, in the order of --help; static. */
AR_API const ar_setting *ar_train_settings(size_t *count);
/* NULL where there is none of that name. */
AR_API const ar_setting *ar_train_setting(const char *name);
AR_API ar_setting_part ar_setting_part_of(const ar_setting *s);

#ifdef __cplusplus
}
#endif
#endif
