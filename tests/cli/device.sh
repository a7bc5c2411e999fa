# shellcheck shell=sh
# What the cases of device.test share.
export ALPHAR_CUDA="${ALPHAR_TEST_CUDA:-$BUILD/emulated/libalphar-cuda.so}"

# base/: two layers of 32, taught a step of the demonstration's stories; data.jsonl: four of them.
small_base() {
    cp -r "$ROOT/demo/base" seed
    head -n 4 "$ROOT/demo/task/train.jsonl" >data.jsonl
    cat >seed/config.json <<'JSON'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 2048, "hidden_size": 32, "intermediate_size": 72, "num_hidden_layers": 2,
 "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512, "hidden_act": "silu", "rms_norm_eps": 1e-05,
 "rope_theta": 10000.0, "tie_word_embeddings": true, "initializer_range": 0.1, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32"}
JSON
    alphar train --method full --init random --model-config seed/config.json --data data.jsonl --steps 1 --batch 1 --max-length 96 --lr 1e-3 --out base \
        --device cpu --quiet >log
}

# small_training DEVICE ARITHMETIC OPTION…: into the folder DEVICE, on base or $model.
small_training() {
    device=$1 compute=$2
    shift 2
    alphar train --model "${model:-base}" --data data.jsonl --batch 2 --rank 4 --lr 2e-3 --max-length 96 --seed 3 --device "$device" --compute "$compute" --out "$device" \
        --quiet "$@" >log
}

# same_losses A B BOUND: of all steps, relative.
same_losses() {
    for run in "$1" "$2"; do sed 's/.*"loss":\([0-9.e-]*\).*/\1/' "$run/metrics.jsonl" >"losses.$run"; done
    paste "losses.$1" "losses.$2" | awk -v bound="$3" '
        { apart = ($1 - $2) / $1; if (apart < 0) apart = -apart; if (apart > worst) worst = apart; n++ }
        END { print (n > 1 && worst <= bound) ? "the losses agree" : "the losses are " worst " apart" }'
}
