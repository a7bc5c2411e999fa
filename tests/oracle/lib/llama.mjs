// llama.cpp's log-probabilities, through node-llama-cpp.   node llama.mjs FOLDER <jobs >answers
// FOLDER holds node_modules/node-llama-cpp.  jobs: a JSON list of {"model", "ids", "lora"?, "scale"?}; answers, in order:
// {"logprobs": [log p(ids[i+1] | ids[..i])]} or {"error"}.  What llama.cpp itself says goes to stderr.
import fs from "node:fs";
import path from "node:path";
import {pathToFileURL} from "node:url";

const entry = path.resolve(process.argv[2], "node_modules", "node-llama-cpp", "dist", "index.js");
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(entry));
const llama = await getLlama({gpu: false, build: "never", maxThreads: 1, logLevel: LlamaLogLevel.warn,
    logger: (level, message) => process.stderr.write(message + "\n")});
const WHOLE = {probabilities: true, options: {temperature: 1, topK: 0, topP: 1, minP: 0}};

async function answer(job) {
    const model = await llama.loadModel({modelPath: job.model});
    try {
        const lora = job.lora ? {lora: {adapters: [{filePath: job.lora, scale: job.scale ?? 1}]}} : {};
        // Flash attention rounds to f16 on the way: without it the base alone agrees to 1e-6 instead of 3e-3.
        const context = await model.createContext({contextSize: 128, ...lora, flashAttention: false,
            experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32"});
        const steps = await context.getSequence().controlledEvaluate(job.ids.map(id => [id, {generateNext: WHOLE}]));
        await context.dispose();
        return {logprobs: job.ids.slice(1).map((id, i) => Math.log(steps[i].next.probabilities.get(id) ?? 0))};
    } finally {
        await model.dispose();
    }
}

const answers = [];
for (const job of JSON.parse(fs.readFileSync(0, "utf8")))
    answers.push(await answer(job).catch(e => ({error: String(e.message ?? e)})));
process.stdout.write(JSON.stringify(answers) + "\n", () => process.exit(0));
