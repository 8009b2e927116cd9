/** How a family of models writes a conversation. */
export interface ChatFormat {
  readonly name: string;
  /** Jinja, in the dialect of Hugging Face's `chat_template`. */
  readonly template: string;
  /** Strings that end an answer beside the vocabulary's own end tokens. */
  readonly stops: readonly string[];
}

const chatml = `{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`;

const llama3 = `{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>

{{ message.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}`;

const gemma = `{{ bos_token }}{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}\
{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}\
<start_of_turn>{{ 'model' if message.role == 'assistant' else 'user' }}
{{ message.content | trim }}<end_of_turn>
{% endfor %}{% if add_generation_prompt %}<start_of_turn>model
{% endif %}`;

const gptSw3 = `<|endoftext|><s>{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}\
{{ 'Bot' if message.role == 'assistant' else 'User' }}: {{ message.content | trim }}<s>{% endfor %}{% if add_generation_prompt %}Bot:{% endif %}`;

/** Formats for files that bring no template, known by a control token of the vocabulary. */
const formats: readonly (ChatFormat & { readonly controlToken: string })[] = [
  { name: "llama-3", template: llama3, stops: [], controlToken: "<|start_header_id|>" },
  { name: "chatml", template: chatml, stops: [], controlToken: "<|im_start|>" },
  { name: "gemma", template: gemma, stops: [], controlToken: "<start_of_turn>" },
  { name: "gpt-sw3", template: gptSw3, stops: ["User:"], controlToken: "<|endoftext|>" },
];

/**
 * The given format, which is a template or the name of one of ours, else the one that its vocabulary was made for, else ChatML, which most models understand best
 * of all formats that are not theirs.
 */
export function chatFormat(ownTemplate: string | undefined, controlTokens: ReadonlySet<string>): ChatFormat {
  const ours = formats.find(({ name }) => name === ownTemplate);
  if (ours !== undefined) return ours;
  if (ownTemplate !== undefined) return { name: "file", template: ownTemplate, stops: turnMarkers(ownTemplate) };
  return (
    formats.find((format) => controlTokens.has(format.controlToken)) ?? {
      name: "chatml",
      template: chatml,
      stops: ["<|im_end|>"],
    }
  );
}

/** GPT-SW3 marks turns with plain words, so that only a stop string keeps a model from playing the user's part too. */
function turnMarkers(template: string): string[] {
  return template.includes("User:") && template.includes("Bot:") ? ["User:"] : [];
}
