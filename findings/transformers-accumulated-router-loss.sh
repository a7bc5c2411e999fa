#!/bin/sh
# transformers: with accumulated steps Trainer adds a mixture's load-balancing loss once for each micro-batch, undivided.
#
# One would guess: eight samples make the same step whether they are one batch of eight or eight batches of one that are accumulated, since
# Trainer has counted the tokens of the whole step since 4.46 so that it does. router_aux_loss_coef then means the same in both.
#
# What happens: a model that takes num_items_in_batch divides its cross entropy by the tokens of the whole step, and Trainer no longer divides
# what it gets by the number of micro-batches. The load-balancing loss (output_router_logits) is added to the cross entropy undivided, so that
# the step learns it as many times as there are micro-batches: 8 accumulated batches have 8 times router_aux_loss_coef.
#
# Packages: transformers 5.24.0, torch 2.13.0, accelerate 1.12.0. Seen on 2026-11-29 (the loss that Trainer reports, less that with weight 0):
#
#     batch 8, 1 accumulated   0.2003
#     batch 2, 4 accumulated   0.8024
#     batch 1, 8 accumulated   1.6075
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir"

cat >see.py <<'PY'
import sys
import torch, transformers as tf

tf.logging.set_verbosity_error()
generator = torch.Generator().manual_seed(3)
rows = [dict(input_ids=x, labels=x.clone(), attention_mask=torch.ones_like(x)) for x in torch.randint(0, 64, (8, 16), generator=generator)]


def loss(batch, weight):
    torch.manual_seed(0)
    model = tf.MixtralForCausalLM(tf.MixtralConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
                                                   num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2,
                                                   output_router_logits=True, router_aux_loss_coef=weight))
    options = tf.TrainingArguments("out", per_device_train_batch_size=batch, gradient_accumulation_steps=8 // batch, max_steps=1, logging_steps=1,
                                   report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True)
    trainer = tf.Trainer(model, options, train_dataset=rows)
    trainer.train()
    return trainer.state.log_history[0]["loss"]


part = {batch: loss(batch, 0.1) - loss(batch, 0.0) for batch in (8, 2, 1)}
for batch, x in part.items():
    print(f"batch {batch}, {8 // batch} accumulated   {x:.4f}", file=sys.stderr)
sys.exit(not (abs(part[2] / part[8] - 4) < 0.1 and abs(part[1] / part[8] - 8) < 0.1))
PY
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6 accelerate==1.12.0 transformers==5.24.0
HF_HUB_OFFLINE=1 env/bin/python -W ignore see.py 2>&1 >/dev/null
