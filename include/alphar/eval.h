/* Asking a base, with or without an adapter: loss on data, log-probabilities of a text, generation. */
#ifndef ALPHAR_EVAL_H
#define ALPHAR_EVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alphar/adapter.h"
#include "alphar/data.h"
#include "alphar/error.h"
#include "alphar/model.h"
#include "alphar/preference.h"
#include "alphar/ranks.h"
#include "alphar/runtime.h"
#include "alphar/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A base with its tokenizer and, perhaps, an adapter on it. */
typedef struct ar_session ar_session;

typedef struct ar_session_options {
    const char *model;                  /* folder */
    const char *const *adapters;        /* of any format, their updates added up; "PATH:0.5" multiplies that one's s */
    int adapter_count;                  /* 0: the base alone */
    ar_adapter_options adapter_options; /* model and log are the session's own */
    bool has_scale, has_alpha;          /* s of every site; or alpha, by which each site's own policy and rank give s */
    double scale, alpha;
    const char *chat_template; /* as in ar_train_options; NULL: the adapter's, else the base's */
    const char *quantize; /* the layers' matrices of a folder in a type of fewer bits, as an adapter saw them that was trained so; NULL: as
                             they are */
} ar_session_options;

AR_API ar_status ar_session_open(ar_session **out, const ar_runtime *rt, const ar_session_options *o, ar_error *err);
AR_API void ar_session_free(ar_session *s); /* NULL is fine */
/* NULL where the base comes without one: then only ids can be asked about, and the second says what is missing. */
AR_API const ar_tokenizer *ar_session_tokenizer(const ar_session *s);
AR_API ar_status ar_session_need_tokenizer(const ar_session *s, ar_error *err);
/* What the adapter (without one, the base) says of the rows that it was trained on by Alphar.  Strings live with the session. */
typedef struct ar_session_form {
    const char *form;                /* "text", "prompt", "question", "instruction", "messages", "mixed"; NULL: not known, or not one */
    const char *map, *ignore_fields; /* as in ar_train_options; NULL: none */
    int max_length;                  /* 0: not known */
    bool turns;                      /* they were conversations, or were written as such: prompts are what a user says */
} ar_session_form;
AR_API ar_session_form ar_session_trained_form(const ar_session *s);
AR_API const ar_model *ar_session_model(const ar_session *s);
/* Another strength of the session's one adapter from now on: its alpha, or s of every site. */
AR_API ar_status ar_session_set_strength(ar_session *s, bool alpha, double value, ar_error *err);
/* A hash of what answers depend on: the base, the adapter's values and strength, the chat template. */
AR_API ar_status ar_session_fingerprint(uint64_t *out, const ar_session *s, ar_error *err);
/* Whether conversations can be written: the base, or the adapter, brings a chat template. */
AR_API bool ar_session_has_template(const ar_session *s);
/* An answer as it was said: behind what the template itself writes in front of one, such as a space. */
AR_API const char *ar_session_said(const ar_session *s, const char *answer);

/* ---- eval: mean loss over the supervised tokens of a file, or over its pairs --------------------------------- */
typedef struct ar_eval_options {
    ar_data_source data;
    int max_length; /* 0: that of the adapter's training, else 1024, or the base's positions where these are fewer */
    bool pack;      /* true */
    bool skip_bad;
    ar_train_on train_on;            /* AR_TRAIN_ON_COMPLETION */
    bool chat_for_pairs;             /* plain pairs too are written by the chat template, as they are where the training did so */
    const double *alphas;            /* evaluate at each of these; NULL: once, as the session stands */
    const double *scales;            /* the same for s; not together with alphas */
    int count;                       /* of alphas or scales */
    const char *map, *ignore_fields; /* as in ar_train_options; both NULL: those of the adapter's training, */
    bool own_fields;                 /* but with this neither: rows are read by their own fields */
    ar_preference preference;        /* data are pairs, loss is the objective's */
    const char *reference;           /* of DPO: an adapter, as the session takes it; NULL: the base alone */
    ar_ranks *ranks;                 /* that share the samples out, each with the same options; NULL: this process is alone */
} ar_eval_options;

typedef struct ar_eval_result {
    bool has_alpha;                  /* false: the sites have no common alpha (or there is no adapter) */
    double alpha, scale, scale_most; /* scale: the least s of the sites, scale_most: the largest */
    double loss, perplexity;         /* perplexity: NaN with an objective */
    int64_t tokens, supervised;
    double margin, accuracy; /* with an objective, over this many pairs: */
    int64_t pairs;
} ar_eval_result;

AR_API void ar_eval_options_init(ar_eval_options *o);
/* Fills max(count, 1) results. */
AR_API ar_status ar_eval(ar_eval_result *results, ar_session *s, const ar_eval_options *o, ar_error *err);

/* ---- strengths: which alpha is best, and what each makes the model forget ------------------------------------------ */
typedef struct ar_strengths_options {
    ar_eval_options eval;     /* with alphas or scales, at least one */
    ar_data_source retention; /* what should not be forgotten; empty: not measured */
    bool has_max_forgetting;
    double max_forgetting; /* the best is looked for where the loss on retention is at most (1 + this) times that at s = 0 */
    bool refine;           /* look closer around the best: up to AR_REFINE_ROUNDS more passes; needs two strengths */
} ar_strengths_options;

enum { AR_REFINE_POINTS = 5, AR_REFINE_ROUNDS = 3 };

typedef struct ar_strength_point {
    double value; /* alpha or s, as asked */
    ar_eval_result task, retention;
    bool allowed; /* within max_forgetting */
} ar_strength_point;

typedef struct ar_strengths {
    ar_strength_point *points; /* as given, then those that refine tried */
    int count, given;
    int best;               /* of points: the least loss on the task among those allowed; −1: none is */
    bool at_zero_known;     /* measured, with retention: */
    ar_eval_result at_zero; /* of retention without the adapter's pairs */
    int passes;             /* over the data */
} ar_strengths;

/* Losses at all strengths in one pass over the data, to the bit what each alone gives.  Caller releases, also after an error. */
AR_API ar_status ar_eval_strengths(ar_strengths *out, ar_session *s, const ar_strengths_options *o, ar_error *err);
AR_API void ar_strengths_release(ar_strengths *s); /* safe on a zeroed one */
/* The session's one adapter at that alpha, or that s of every site, as a PEFT folder. */
AR_API ar_status ar_session_write_adapter(ar_session *s, const char *dir, bool alpha, double value, bool overwrite, ar_error *err);

/* ---- score --------------------------------------------------------------------------------------------------- */
/* logprobs [count - 1]: log p of ids[i + 1] given ids[..i].  logits_path not NULL: also writes `logits` f32 [count, V]
 * there as safetensors.  Errors: AR_ERR_VALUE for fewer than two ids or an id outside the vocabulary. */
AR_API ar_status ar_score(double *logprobs, ar_session *s, const int32_t *ids, size_t count, const char *logits_path, ar_error *err);

/* ---- compare: two sessions on the same sequences ------------------------------------------------------------- */
typedef struct ar_session_difference {
    int prompts;
    double largest, mean; /* |log p(a) − log p(b)| over the tokens */
} ar_session_difference;

/* Asks both on `prompts` sequences of random ids (behind BOS where a has one), a function of seed and vocabulary.  Equal
 * models agree to about 1e-5. */
AR_API ar_status ar_sessions_compare(ar_session_difference *out, ar_session *a, ar_session *b, int prompts, uint64_t seed, ar_error *err);

/* ---- generate ------------------------------------------------------------------------------------------------ */
struct ar_generate_result;

typedef struct ar_generate_options {
    int max_tokens;        /* 128 */
    bool may_be_fewer;     /* no warning where the base's positions leave fewer */
    double temperature;    /* 0: greedy */
    double top_p, min_p;   /* 1, 0 */
    int top_k;             /* 0: off */
    double repeat_penalty; /* 1: off; as in Hugging Face: over prompt and answer */
    const char *const *stops;
    int stop_count;
    uint64_t seed; /* 1 */
    bool raw;      /* the prompt as it stands, not in the form of the adapter's training */
    const char
        *system; /* prompts are what a user says after this system message ("": none), written by the chat template; NULL: as trained */
    /* [count] which prompts are conversations: JSON, a list of messages or a row of training data with one, written by the chat template
     * up to its last answer.  NULL: none. */
    const bool *conversations;
    bool base_alone; /* without the adapter */
    /* Receives text as it becomes final (whole UTF-8 characters, never part of a stop string); NULL: none.
     * Returning false stops generation. */
    bool (*on_text)(void *user, const char *text, size_t n);
    /* Receives each complete result, in the order of the prompts; NULL: none.  Returning false stops generation: what was
     * not handed over yet may be incomplete. */
    bool (*on_result)(void *user, int prompt, const struct ar_generate_result *result);
    void *user;
} ar_generate_options;

typedef enum ar_stopped { AR_STOPPED_EOS, AR_STOPPED_LENGTH, AR_STOPPED_STOP } ar_stopped;

typedef struct ar_generate_result {
    ar_ids prompt_ids, ids; /* ids: without the EOS that ended it */
    char *text;             /* decoded ids, cut before a stop string */
    ar_stopped stopped;
} ar_generate_result;

AR_API void ar_generate_options_init(ar_generate_options *o);
/* prompt: text, encoded with the tokenizer's special tokens; for an adapter trained on `question` or `instruction` rows it is
 * put as they are, unless it is already or o->raw is set (ar_session_trained_form).  Caller releases the result, also after an error. */
AR_API ar_status ar_generate(ar_generate_result *result, ar_session *s, const char *prompt, const ar_generate_options *o, ar_error *err);
/* The same for `count` prompts, whose tokens are formed together: the base's weights are read once for a token of each of up
 * to 16 of them.  results [count]; each is what ar_generate says for that prompt alone with the seed o->seed + its index,
 * to the bit.  on_text is called where count is 1 alone.  An error about one prompt ends all. */
AR_API ar_status ar_generate_batch(ar_generate_result *results, ar_session *s, const char *const *prompts, int count,
                                   const ar_generate_options *o, ar_error *err);
AR_API void ar_generate_result_release(ar_generate_result *r);

typedef struct ar_prompts {
    char **text;        /* UTF-8; of a conversation its JSON */
    bool *conversation; /* which are, for ar_generate_options.conversations */
    int count;
} ar_prompts;

/* A conversation from a file ("-": standard input), for ar_generate_options.conversations: a list of messages, or a row of training data
 * with one.  Caller frees. */
AR_API ar_status ar_conversation_load(char **out, const char *path, ar_error *err);

/* The prompts of a JSON Lines file of training data, as training reads them; what is to be learned behind them may be absent.
 * Of several fields the first counts: `prompt`, `question` (a line break behind it), `instruction` and `input` (in Alpaca's
 * text), `text`.  map, ignore_fields: as the options of those names in ar_train_options.  Such a prompt is complete: ask with
 * ar_generate_options.raw.  turns: plain rows too are conversations, of what a user says (ar_session_form.turns).
 * Errors: `FILE:LINE: …`.  Caller releases. */
AR_API ar_status ar_prompts_load(ar_prompts *out, const char *path, const char *map, const char *ignore_fields, bool turns, ar_error *err);
AR_API void ar_prompts_release(ar_prompts *p); /* safe on a zeroed one */

#ifdef __cplusplus
}
#endif
#endif
