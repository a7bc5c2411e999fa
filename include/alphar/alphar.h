/* All of Alphar's interface.  docs/c.md shows a program that trains and evaluates with it; each header says what it is for. */
#ifndef ALPHAR_ALPHAR_H
#define ALPHAR_ALPHAR_H

#include "alphar/adapter.h"
#include "alphar/advise.h"
#include "alphar/algebra.h"
#include "alphar/bench.h"
#include "alphar/data.h"
#include "alphar/error.h"
#include "alphar/eval.h"
#include "alphar/model.h"
#include "alphar/preference.h"
#include "alphar/quantize.h"
#include "alphar/ranks.h"
#include "alphar/report.h"
#include "alphar/runs.h"
#include "alphar/runtime.h"
#include "alphar/settings.h"
#include "alphar/sweep.h"
#include "alphar/tokenizer.h"
#include "alphar/train.h"
#include "alphar/tune.h"

#endif
