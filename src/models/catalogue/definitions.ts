import { LlamapodError } from "../../protocol/errors.ts";
import { builtInDefinitions } from "./built-in.ts";
import type { ModelDefinition } from "./definition.ts";

/** What is known about models beside their files, by id. */
export class Definitions {
  readonly #byId: ReadonlyMap<string, ModelDefinition>;
  readonly #idByName = new Map<string, string>();
  readonly #idByFile = new Map<string, string>();

  /** @param own those of the operator, which add to the built-in ones, and change them field by field */
  constructor(own: Readonly<Record<string, ModelDefinition>>) {
    const ids = new Set([...Object.keys(builtInDefinitions), ...Object.keys(own)]);
    this.#byId = new Map([...ids].map((id) => [id, named(id, merged(builtInDefinitions[id], own[id]))]));
    for (const [id, definition] of this.#byId) {
      for (const name of definition.aliases ?? []) this.#idByName.set(name, id);
      const file = fileNameOf(definition);
      if (file !== undefined) this.#idByFile.set(file.toLowerCase(), id);
    }
    // An id is stronger than another model's alias.
    for (const id of this.#byId.keys()) this.#idByName.set(id, id);
  }

  get ids(): Iterable<string> {
    return this.#byId.keys();
  }

  get(id: string): ModelDefinition | undefined {
    return this.#byId.get(id);
  }

  /** @param name an id or an alias */
  idOf(name: string): string | undefined {
    return this.#idByName.get(name.toLowerCase());
  }

  /** The model whose file this is: the definition names it, or it is named like the model. */
  idOfFile(fileName: string, stem: string): string | undefined {
    return this.#idByFile.get(fileName.toLowerCase()) ?? this.#idByName.get(stem);
  }
}

/** What belongs to the file of another source goes with that source. */
function merged(base: ModelDefinition = {}, own: ModelDefinition = {}): ModelDefinition {
  if (own.source === undefined || own.source === base.source) return { ...base, ...own };
  return { ...base, file: undefined, sizeBytes: undefined, sha256: undefined, gated: undefined, ...own };
}

/** Where neither the definition nor the source names a file, it is named like the model, so that it is found to be the model's. */
function named(id: string, definition: ModelDefinition): ModelDefinition {
  const isNamed = definition.source === undefined || fileNameOf(definition) !== undefined;
  return isNamed ? definition : { ...definition, file: `${id}.gguf` };
}

/** The name that the model's file has, or will have, in the models folder. */
export function fileNameOf({ file, source }: ModelDefinition): string | undefined {
  return file ?? /([^/\\:@?#]+\.gguf)(?:[@?#].*)?$/i.exec(source ?? "")?.[1];
}

/** Says how to get a model that is known and not here. */
export function notDownloaded(id: string, { sizeBytes, source }: ModelDefinition): LlamapodError {
  const size = sizeBytes === undefined ? "" : ` (${(sizeBytes / 1e9).toFixed(1)} GB)`;
  const remedy =
    source === undefined
      ? "Put its file into the models folder, or give it a source in models.yaml."
      : `Get it with: llamapod pull ${id}${size}`;
  return new LlamapodError("model_not_downloaded", `The model ${id} is known, but its file is not here. ${remedy}`, {
    param: "model",
  });
}
