/* The names of tensors in kohya's and diffusers' files.  MODULE is the module's name there:
 *
 *     MODULE.lora_down.weight              [r, in] or [r, cin, kh, kw]       .lora_up.weight [out, r] or [out, r, 1, 1]
 *     MODULE.alpha                         one number
 *     MODULE.lora.down.weight              diffusers, of attention and text projections
 *     MODULE_lora.down.weight              diffusers before PEFT (…processor.to_q_lora.down.weight)
 *     MODULE.lora_linear_layer.down.weight diffusers, of text encoders
 *     MODULE.lora_A.weight                 diffusers with PEFT; behind the name of a pipeline's component, or where the file
 *     MODULE.lora_A.default.weight         itself tells alpha, because else such names come from a PEFT folder */
#include <string.h>

#include "adapter/kohya.h"

static const struct {
    const char *tail;
    ar_kohya_part part;
    bool is_diffusers, needs_component;
} tails[] = {
    {".lora_down.weight", AR_KOHYA_DOWN, false, false},
    {".lora_up.weight", AR_KOHYA_UP, false, false},
    {".alpha", AR_KOHYA_ALPHA, false, false},
    {".lora.down.weight", AR_KOHYA_DOWN, true, false},
    {".lora.up.weight", AR_KOHYA_UP, true, false},
    {"_lora.down.weight", AR_KOHYA_DOWN, true, false},
    {"_lora.up.weight", AR_KOHYA_UP, true, false},
    {".lora_linear_layer.down.weight", AR_KOHYA_DOWN, true, false},
    {".lora_linear_layer.up.weight", AR_KOHYA_UP, true, false},
    {".lora_A.weight", AR_KOHYA_DOWN, true, true},
    {".lora_B.weight", AR_KOHYA_UP, true, true},
    {".lora_A.default.weight", AR_KOHYA_DOWN, true, true},
    {".lora_B.default.weight", AR_KOHYA_UP, true, true},
};

/* What else stands behind a module's name in such files.  A word that does not end in '_' is a whole component. */
static const struct {
    const char *word, *method;
} others[] = {
    {".dora_scale", "DoRA, whose readers disagree on which norm it replaces"},
    {".lora_magnitude_vector", "DoRA"},
    {".lora_mid.weight", "a convolution in Tucker form (three factors)"},
    {".hada_", "LoHa"},
    {".lokr_", "LoKr"},
    {".glora_", "GLoRA"},
    {".oft_", "OFT"},
    {".boft_", "BOFT"},
    {".on_input", "IA3"},
    {".diff_b", "the difference of a bias"},
    {".diff", "the difference of a whole weight"},
    {".set_weight", "a whole weight"},
    {".w_norm", "the difference of a norm"},
    {".b_norm", "the difference of a norm"},
    {".bias_indices", "a sparse bias"},
    {".bias_values", "a sparse bias"},
    {".bias_size", "a sparse bias"},
    {".lora_up.bias", "a bias on B"},
    {".lora_B.bias", "a bias on B"},
    {".reshape_weight", "a weight of another shape than the base's"},
};

/* Parts of a diffusers pipeline, and what ComfyUI calls them. */
bool ar__kohya_has_component(const char *name) {
    static const char *const components[] = {"unet.",           "transformer.",   "transformer_2.",   "text_encoder.", "text_encoder_2.",
                                             "text_encoder_3.", "text_encoders.", "diffusion_model.", "prior.",        "controlnet."};
    for (size_t i = 0; i < sizeof components / sizeof *components; i++)
        if (!strncmp(name, components[i], strlen(components[i]))) return true;
    return false;
}

static bool holds(const char *name, const char *word) {
    size_t n = strlen(word);
    for (const char *p = strstr(name, word); p; p = strstr(p + 1, word))
        if (word[n - 1] == '_' || p[n] == '.' || p[n] == '\0') return true;
    return false;
}

ar_kohya_key ar__kohya_key_parse(const char *name, const ar_diffusers *d) {
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        size_t tail = strlen(tails[i].tail);
        if (n <= tail || strcmp(name + n - tail, tails[i].tail) != 0) continue;
        if (tails[i].needs_component && !ar__kohya_has_component(name) && !ar__diffusers_tells(d, name, n - tail)) continue;
        return (ar_kohya_key){.part = tails[i].part, .module = n - tail, .is_diffusers = tails[i].is_diffusers};
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (holds(name, others[i].word)) return (ar_kohya_key){.part = AR_KOHYA_OTHER, .method = others[i].method};
    return (ar_kohya_key){.part = AR_KOHYA_UNKNOWN};
}
