/* Keys of PEFT's other methods.  A folder whose configuration says LORA may hold them (two methods' state dicts saved as one,
 * a file under a configuration that is not its own); PEFT passes over them, and they are no tensors of the base either. */
#include <string.h>

#include "adapter/peft.h"

/* How a component of the key begins, as each tuner of PEFT names its parameters. */
static const struct {
    const char *word, *method;
} others[] = {
    {"adamss_", "AdaMSS"},
    {"adaption_gate", "an adaption prompt (LLaMA-Adapter)"},
    {"adaption_prompt", "an adaption prompt (LLaMA-Adapter)"},
    {"beft_", "BEFT"},
    {"boft_", "BOFT"},
    {"bone_", "Bone"},
    {"c3a_", "C3A"},
    {"deft_", "DEFT"},
    {"delora_", "DeLoRA"},
    {"fourierft_", "FourierFT"},
    {"frod_", "FRoD"},
    {"glora_", "GLoRA"},
    {"gralora_", "GraLoRA"},
    {"hada_", "LoHa"},
    {"hira_", "HiRA"},
    {"hra_", "HRA"},
    {"ia3_", "IA3"},
    {"internal_xlora_classifier", "X-LoRA"},
    {"lily_", "Lily"},
    {"ln_tuning_", "LN tuning"},
    {"lokr_", "LoKr"},
    {"lora_E", "AdaLoRA"},
    {"lora_diag", "KaSA"},
    {"miss_", "MiSS"},
    {"oft_", "OFT"},
    {"osf_", "OSF"},
    {"peanut_", "PEANuT"},
    {"poly_", "Poly"},
    {"prompt_embeddings", "prompt tuning"},
    {"prompt_encoder", "p-tuning"},
    {"psoft_", "PSOFT"},
    {"pvera_", "PVeRA"},
    {"randlora_", "RandLoRA"},
    {"ranknum", "AdaLoRA"},
    {"road_", "RoAd"},
    {"shadow_", "Shadow"},
    {"shira_", "SHiRA"},
    {"supertuning_", "SuperTuning"},
    {"tinylora_", "TinyLoRA"},
    {"unilora_", "Uni-LoRA"},
    {"vblora_", "VB-LoRA"},
    {"vera_", "VeRA"},
    {"waveft_", "WaveFT"},
};

const char *ar__peft_other_method(const char *key) {
    for (const char *part = key; part; part = strchr(part, '.')) {
        part += *part == '.';
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            if (!strncmp(part, others[i].word, strlen(others[i].word))) return others[i].method;
    }
    return NULL;
}
