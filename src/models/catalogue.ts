import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { LlamapodError, toLlamapodError } from "../protocol/errors.ts";
import { readGgufHeader, type GgufHeader } from "./gguf/header.ts";

/** A model that can be asked for. `header` is an error where the file is there and cannot be used. */
export interface CatalogueEntry {
  /** The file's name without its ending, in lower case. A key, never a path. */
  readonly id: string;
  readonly path: string;
  readonly header: GgufHeader | LlamapodError;
}

/** Parts of a split model but the first, which stands for all. */
const laterPart = /-(?!00001)\d{5}-of-\d{5}\.gguf$/i;

/** The GGUF files of one folder. */
export class Catalogue {
  readonly #folder: string;
  readonly #log: Logger;
  #entries: ReadonlyMap<string, CatalogueEntry> = new Map();
  #scanning: Promise<void> | undefined;

  constructor(folder: string, log: Logger) {
    this.#folder = folder;
    this.#log = log;
  }

  get entries(): readonly CatalogueEntry[] {
    return [...this.#entries.values()];
  }

  /** Reads the folder again; files that are known to be models keep their entry. A folder that is not there is an empty one. */
  scan(): Promise<void> {
    this.#scanning ??= this.#scan().finally(() => {
      this.#scanning = undefined;
    });
    return this.#scanning;
  }

  get(id: string): CatalogueEntry | undefined {
    return this.#entries.get(id.toLowerCase());
  }

  /** Like `get`, with a look at the folder for a file that has come, or has become whole, since. @throws {LlamapodError} `model_not_found` */
  async find(id: string): Promise<CatalogueEntry> {
    if (!isUsable(this.get(id)?.header)) await this.scan();
    const entry = this.get(id);
    if (entry !== undefined) return entry;
    const known = this.entries.map((candidate) => candidate.id).join(", ") || "none";
    throw new LlamapodError("model_not_found", `There is no model ${JSON.stringify(id)}. Known models: ${known}.`, {
      param: "model",
    });
  }

  async #scan(): Promise<void> {
    const entries = new Map<string, CatalogueEntry>();
    for (const name of await this.#fileNames()) {
      const id = name.slice(0, -".gguf".length).toLowerCase();
      const path = join(this.#folder, name);
      if (entries.has(id)) this.#log.warn({ path }, "model file ignored: another one differs only in upper and lower case");
      else entries.set(id, await this.#entry(id, path));
    }
    this.#entries = entries;
  }

  async #fileNames(): Promise<string[]> {
    try {
      const names = await readdir(this.#folder);
      return names.filter((name) => name.toLowerCase().endsWith(".gguf") && !laterPart.test(name)).sort();
    } catch (thrown) {
      this.#log.warn({ folder: this.#folder, err: thrown }, "the models folder cannot be read");
      return [];
    }
  }

  async #entry(id: string, path: string): Promise<CatalogueEntry> {
    const known = this.get(id)?.header;
    if (isUsable(known)) return { id, path, header: known };
    const header = await readGgufHeader(path).catch(toLlamapodError);
    if (!isUsable(header) && header.message !== known?.message) {
      this.#log.error({ model: id, reason: header.message }, "model file cannot be used");
    }
    return { id, path, header };
  }
}

function isUsable(header: CatalogueEntry["header"] | undefined): header is GgufHeader {
  return header !== undefined && !(header instanceof LlamapodError);
}
