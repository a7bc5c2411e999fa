#include "train/outlook.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "train/checkpoint.h"

enum { HOUR = 3600, TELL_STEPS = 3, TELL_SECONDS = 15 };

/* ---- what is known -------------------------------------------------------------------------------------------------*/

/* Tokens of the data if no sample had more than `length`; *cut: the samples that have. */
static double tokens_up_to(const ar_dataset *data, int length, size_t *cut) {
    double sum = 0;
    *cut = 0;
    for (size_t i = 0; i < ar__dataset_count(data); i++) {
        int n = ar__dataset_at(data, i).count;
        *cut += n > length;
        sum += n < length ? n : length;
    }
    return sum;
}

/* The greatest power of two that cuts at most one sample in twenty and saves at least a tenth of the tokens. */
static void find_short_length(ar_outlook *o, const ar_dataset *data) {
    size_t cut, n = ar__dataset_count(data);
    double all = tokens_up_to(data, INT32_MAX, &cut);
    for (int length = 4096; length >= 64; length /= 2) {
        double some = tokens_up_to(data, length, &cut);
        if ((double)cut > 0.05 * (double)n) return;
        if (some > 0.9 * all) continue;
        o->short_length = length;
        o->short_cut = (double)cut / (double)n;
        o->short_saved = 1.0 - some / all;
        return;
    }
}

/* A standard error of the mean tokens of a sample, as a share of it, when n of all were looked at. */
static double relative_error(const ar_dataset *data, double all) {
    double n = (double)ar__dataset_count(data), sum = 0, squares = 0;
    for (size_t i = 0; i < ar__dataset_count(data); i++) {
        double x = ar__dataset_at(data, i).count;
        sum += x;
        squares += x * x;
    }
    double mean = sum / n, variance = n > 1 ? fmax(0, squares - n * mean * mean) / (n - 1) : 0;
    return mean > 0 ? sqrt(variance / n * (all > n ? 1 - n / all : 0)) / mean : 0;
}

/* Of a part of the lines: as many samples, and tokens, as the part has in its share. */
static void scale_up(ar_outlook *o, const ar_learner *l) {
    const ar_data_stats *st = &l->course->stats;
    double factor = (double)st->all_lines / (double)st->lines;
    o->lines = (int64_t)st->all_lines;
    o->lines_read = (int64_t)st->lines;
    o->samples = llround((double)o->samples * factor);
    o->tokens = llround((double)o->tokens * factor);
    o->supervised = llround((double)o->supervised * factor);
    o->error = relative_error(l->course->data, (double)o->samples * (o->pairs ? 2 : 1));
    if (!l->o.learner.steps)
        o->steps = (int64_t)ar__stream_steps(ar__epoch_samples(l->o.learner.epochs, (size_t)o->samples), (size_t)l->o.learner.batch);
}

/* Evaluations of the whole run: as they are asked for, else one an epoch, and the one at the end.  Of a part of the lines,
 * as many tokens as the part has in its share. */
static double evaluation_work(const ar_learner *l, const ar_outlook *o) {
    double tokens = 0, count = 1, share = l->o.learner.method == AR_METHOD_FULL ? 1.0 / 3 : 0.5;
    if (!l->course->eval_data) return 0;
    for (size_t i = 0; i < ar__dataset_count(l->course->eval_data); i++) tokens += ar__dataset_at(l->course->eval_data, i).count;
    if (l->course->eval_stats.all_lines) tokens *= (double)l->course->eval_stats.all_lines / (double)l->course->eval_stats.lines;
    if (l->o.run.eval_every)
        count = ceil((double)o->steps / (double)l->o.run.eval_every);
    else if (o->samples)
        count = ceil((double)o->steps * (double)o->batch / (double)o->samples);
    return tokens * count * share;
}

ar_outlook ar__outlook_of(const ar_learner *l) {
    ar_outlook o = {.steps = l->steps, .batch = l->o.learner.batch, .disk_bytes = ar__checkpoint_room(l)};
    if (l->adapter && l->adapter->pair_count) o.rank = l->adapter->pair[0].rank;
    if (!l->course->data) return o;
    o.pairs = ar__has_objective(&l->o);
    o.samples = (int64_t)ar__dataset_count(l->course->data) / (o.pairs ? 2 : 1);
    if (!ar__dataset_is_reading(l->course->data)) { /* what is not tokenized yet is not known */
        o.tokens = (int64_t)l->course->stats.tokens;
        o.supervised = (int64_t)l->course->stats.supervised;
        if (l->course->stats.all_lines) scale_up(&o, l);
        find_short_length(&o, l->course->data);
    }
    o.eval_work = evaluation_work(l, &o);
    return o;
}

/* Two digits are enough for advice. */
static int64_t round_down(double x) {
    double unit = x >= 100 ? pow(10, floor(log10(x)) - 1) : 1;
    return x < 1 ? 1 : (int64_t)(floor(x / unit) * unit);
}

void ar__outlook_set_speed(ar_outlook *o, double tokens_per_second, double mean, int64_t steps_left) {
    double step_seconds = tokens_per_second > 0 ? (double)o->batch * mean / tokens_per_second : 0;
    o->tokens_per_second = tokens_per_second;
    /* Of the evaluations, as many are left as of the steps. */
    double eval_left = o->steps > 0 ? o->eval_work * (double)steps_left / (double)o->steps : 0;
    o->seconds = step_seconds * (double)steps_left + (tokens_per_second > 0 ? eval_left / tokens_per_second : 0);
    o->hour_steps = o->seconds > 2 * HOUR && step_seconds > 0 ? round_down(HOUR / step_seconds) : 0;
}

/* ---- sentences -----------------------------------------------------------------------------------------------------*/

/* Text behind what is there, as far as it fits. */
__attribute__((format(printf, 3, 4))) static void say(char *out, size_t size, const char *format, ...) {
    size_t n = strlen(out);
    va_list ap;
    va_start(ap, format);
    vsnprintf(out + n, size - n, format, ap);
    va_end(ap);
}

static void say_count(char *out, size_t size, int64_t n) {
    if (n < 10000000)
        say(out, size, "%lld", (long long)n);
    else
        say(out, size, "%.1f million", (double)n / 1e6);
}

static void say_work(char *out, size_t size, const ar_outlook *o) {
    if (!o->samples) return;
    if (o->lines) say(out, size, "about ");
    say_count(out, size, o->samples);
    say(out, size, " %s%s", o->pairs ? "pair" : "sample", o->samples == 1 ? "" : "s");
    if (o->tokens) {
        say(out, size, ", ");
        say_count(out, size, o->tokens);
        say(out, size, " tokens, ");
        say_count(out, size, o->supervised);
        say(out, size, " of them learned");
    }
    if (o->lines) say(out, size, " (± %.1f %%, from %lld of %lld lines)", 100 * o->error, (long long)o->lines_read, (long long)o->lines);
    say(out, size, "; %lld step%s of %d", (long long)o->steps, o->steps == 1 ? "" : "s", o->batch);
}

static void say_time(char *out, size_t size, const ar_outlook *o) {
    double s = o->seconds;
    if (s <= 0) return;
    if (s < 90)
        say(out, size, "about %.0f s", fmax(1, s));
    else if (s < 90 * 60)
        say(out, size, "about %.0f min", s / 60);
    else if (s < 100 * HOUR)
        say(out, size, "about %.1f hours", s / HOUR);
    else
        say(out, size, "about %.0f days", s / HOUR / 24);
    bool evaluations = o->eval_work > 0.05 * s * o->tokens_per_second;
    say(out, size, " at %.0f tokens/s%s; %.1f MiB on disk", o->tokens_per_second, evaluations ? ", evaluations included" : "",
        (double)o->disk_bytes / (1 << 20));
}

static void say_advice(char *out, size_t size, const ar_outlook *o) {
    if (!o->hour_steps) return;
    say(out, size, "a first run of about an hour: --steps %lld", (long long)o->hour_steps);
    if (o->short_length)
        say(out, size, "; --max-length %d saves %.0f %% of the time and cuts %.1f %% of the samples", o->short_length, 100 * o->short_saved,
            100 * o->short_cut);
    if (o->rank_share > 0.1 && o->rank >= 8) say(out, size, "; --rank %d saves about %.0f %%", o->rank / 4, 75 * o->rank_share);
}

void ar_outlook_describe(ar_outlook_text *out, const ar_outlook *o) {
    *out = (ar_outlook_text){0};
    say_work(out->work, sizeof out->work, o);
    say_time(out->time, sizeof out->time, o);
    say_advice(out->advice, sizeof out->advice, o);
}

/* ---- a run on its way ----------------------------------------------------------------------------------------------*/

void ar__outlook_begin(const ar_learner *l) {
    ar_outlook o = ar__outlook_of(l);
    ar_outlook_text text;
    ar_outlook_describe(&text, &o);
    ar__log_info(&l->course->rt->log, "%s", text.work);
}

/* The first step reads the base from disk; it counts only where steps take so long that nobody should wait for a second. */
void ar__outlook_step(ar_pace *p, const ar_learner *l, double seconds) {
    if (p->told || l->step == l->steps) return;
    bool slow = seconds >= TELL_SECONDS;
    if (p->steps++ || slow) {
        p->tokens += (double)l->step_tokens;
        p->seconds += seconds;
    }
    if (p->seconds <= 0 || (p->steps < TELL_STEPS && p->seconds < TELL_SECONDS)) return;
    double counted = (double)(slow && p->steps == 1 ? 1 : p->steps - 1);
    ar_outlook o = ar__outlook_of(l);
    ar_outlook_text text;
    ar__outlook_set_speed(&o, p->tokens / p->seconds, p->tokens / counted / (double)l->o.learner.batch, l->steps - l->step);
    ar_outlook_describe(&text, &o);
    ar__log_info(&l->course->rt->log, "%s", text.time);
    if (*text.advice) ar__log_info(&l->course->rt->log, "%s", text.advice);
    p->told = true;
}
