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
  /** A demo that comes with llamapod, as opposed to the operator's own. */
  readonly isBuiltIn: boolean;
}

/** A folder with GGUF files. */
export interface ModelSource {
  readonly folder: string;
  readonly isBuiltIn: boolean;
}

/** Parts of a split model but the first, which stands for all. */
const laterPart = /-(?!00001)\d{5}-of-\d{5}\.gguf$/i;

/** The GGUF files of some folders. Of two with the same name, that of the earlier folder counts. */
export class Catalogue {
  readonly #sources: readonly ModelSource[];
  readonly #log: Logger;
  #entries: ReadonlyMap<string, CatalogueEntry> = new Map();
  #scanning: Promise<void> | undefined;

  constructor(sources: readonly ModelSource[], log: Logger) {
    this.#sources = sources;
    this.#log = log;
  }

  get entries(): readonly CatalogueEntry[] {
    return [...this.#entries.values()];
  }

  /** Reads the folders again; files that are known to be models keep their entry. A folder that is not there is an empty one. */
  scan(): Promise<void> {
    this.#scanning ??= this.#scan().finally(() => {
      this.#scanning = undefined;
    });
    return this.#scanning;
  }

  get(id: string): CatalogueEntry | undefined {
    return this.#entries.get(id.toLowerCase());
  }

  /** Like `get`, with a look at the folders for a file that has come, or has become whole, since. @throws {LlamapodError} `model_not_found` */
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
    for (const { folder, isBuiltIn } of this.#sources) {
      for (const name of await this.#fileNames(folder)) {
        const id = idOf(name);
        const path = join(folder, name);
        const other = entries.get(id);
        if (other === undefined) entries.set(id, await this.#entry(id, path, isBuiltIn));
        else if (other.isBuiltIn === isBuiltIn)
          this.#log.warn({ path }, "model file ignored: another one differs only in upper and lower case");
      }
    }
    this.#entries = entries;
  }

  async #fileNames(folder: string): Promise<string[]> {
    try {
      const names = await readdir(folder);
      const models = names.filter((name) => name.toLowerCase().endsWith(".gguf") && !laterPart.test(name));
      return models.sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
    } catch (thrown) {
      this.#log.warn({ folder, err: thrown }, "the models folder cannot be read");
      return [];
    }
  }

  async #entry(id: string, path: string, isBuiltIn: boolean): Promise<CatalogueEntry> {
    const before = this.get(id);
    const known = before?.path === path ? before.header : undefined;
    if (isUsable(known)) return { id, path, header: known, isBuiltIn };
    const header = await readGgufHeader(path).catch(toLlamapodError);
    if (!isUsable(header) && header.message !== known?.message) {
      this.#log.error({ model: id, reason: header.message }, "model file cannot be used");
    }
    return { id, path, header, isBuiltIn };
  }
}

function idOf(fileName: string): string {
  return fileName.slice(0, -".gguf".length).toLowerCase();
}

function isUsable(header: CatalogueEntry["header"] | undefined): header is GgufHeader {
  return header !== undefined && !(header instanceof LlamapodError);
}
