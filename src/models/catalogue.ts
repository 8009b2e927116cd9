import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import { LlamapodError } from "../protocol/errors.ts";
import type { ModelDefinition } from "./catalogue/definition.ts";
import { Definitions, notDownloaded } from "./catalogue/definitions.ts";
import { FolderWatch } from "./catalogue/folder-watch.ts";
import { modelFiles, readModelHeader, type ModelFile, type ModelSource } from "./catalogue/model-files.ts";
import { parseModelsYaml, readModelsYaml } from "./catalogue/models-yaml.ts";
import type { GgufHeader } from "./gguf/header.ts";

export type { ModelDefinition, ModelSource };

/** A model that can be asked for. `header` is an error where the file is there and cannot be used. */
export interface CatalogueEntry {
  /** Of its definition, or its file's name without the ending, in lower case. A key, never a path. */
  readonly id: string;
  readonly aliases: readonly string[];
  /** Of the first part where there are more. */
  readonly path: string;
  readonly file: ModelFile;
  readonly header: GgufHeader | LlamapodError;
  /** What is known about it beside its file. */
  readonly definition: ModelDefinition;
  /** It came with llamapod and is not the operator's own. */
  readonly isBuiltIn: boolean;
}

/** A model that is known and has no file here. */
export interface MissingModel {
  readonly id: string;
  readonly definition: ModelDefinition;
}

export interface CatalogueChange {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
}

/** How `models.yaml` was read the last time. */
export interface DefinitionsReading {
  readonly isUsable: boolean;
  /** When what counts was read. */
  readonly succeededAtMs: number | undefined;
}

/** A file that comes into the folder is left alone until nothing has been written to it for so long. */
const settleMs = 1_000;

/** The models of some folders, and those that are known without having a file. Of two with the same id, the earlier folder's counts. */
export class Catalogue implements Disposable {
  readonly #sources: readonly ModelSource[];
  readonly #log: Logger;
  readonly #listeners = new Set<(change: CatalogueChange) => void>();
  #yaml = "";
  #definitions = new Definitions({});
  #reading: DefinitionsReading = { isUsable: false, succeededAtMs: undefined };
  #entries: ReadonlyMap<string, CatalogueEntry> = new Map();
  #complaints: ReadonlySet<string> = new Set();
  #scanning: Promise<void> = Promise.resolve();
  #watches: FolderWatch[] = [];

  /** @param sources the first one is the operator's folder, whose `models.yaml` counts */
  constructor(sources: readonly ModelSource[], log: Logger) {
    this.#sources = sources;
    this.#log = log;
  }

  /** Those that have a file. */
  get entries(): readonly CatalogueEntry[] {
    return [...this.#entries.values()];
  }

  /** The operator's own models come before the built-in ones. */
  get firstUsable(): CatalogueEntry | undefined {
    return this.entries.find(({ header }) => isUsable(header));
  }

  /** Those that can be pulled. */
  get missing(): readonly MissingModel[] {
    return [...this.#definitions.ids]
      .filter((id) => !this.#entries.has(id))
      .map((id) => ({ id, definition: this.#definitions.get(id) ?? {} }));
  }

  get reading(): DefinitionsReading {
    return this.#reading;
  }

  /** What is wrong with the folders or with `models.yaml`, as sentences. */
  get complaints(): readonly string[] {
    return [...this.#complaints];
  }

  /** Reads the folders again; what has not changed keeps its entry. A folder that is not there is an empty one. */
  scan(): Promise<void> {
    return this.#scanAfter(0);
  }

  /** Scans by itself from now on, whenever something changes in a folder. */
  watch(): void {
    this.#watches = this.#sources.map(({ folder }) => new FolderWatch(folder, this.#folderChanged, this.#log));
  }

  [Symbol.dispose](): void {
    for (const watch of this.#watches) watch[Symbol.dispose]();
  }

  /** @param listener told of every scan that has found a change */
  onChange(listener: (change: CatalogueChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @param name an id, an alias, or the name of a file without its ending */
  get(name: string): CatalogueEntry | undefined {
    const key = name.toLowerCase();
    const known = this.#entries.get(key) ?? this.#entries.get(this.#definitions.idOf(key) ?? "");
    return known ?? this.entries.find(({ aliases }) => aliases.includes(key));
  }

  /** What is known about a model, with or without a file. */
  definition(name: string): MissingModel | undefined {
    const id = this.#definitions.idOf(name);
    return id === undefined ? undefined : { id, definition: this.#definitions.get(id) ?? {} };
  }

  /**
   * Like `get`, with a look at the folders for a file that has come, or has become whole, since.
   *
   * @throws {LlamapodError} `model_not_downloaded`, `model_not_found`
   */
  async find(name: string): Promise<CatalogueEntry> {
    if (!isUsable(this.get(name)?.header)) await this.scan();
    const entry = this.get(name);
    if (entry !== undefined) return entry;
    const known = this.definition(name);
    if (known !== undefined) throw notDownloaded(known.id, known.definition);
    const ids = [...this.#entries.keys()].join(", ") || "none";
    throw new LlamapodError("model_not_found", `There is no model ${JSON.stringify(name)}. Known models: ${ids}.`, {
      param: "model",
    });
  }

  readonly #folderChanged = (): void => {
    this.#scanAfter(settleMs).catch((err: unknown) => {
      this.#log.error({ err }, "the models folder could not be read");
    });
  };

  /** One scan at a time, and each begins after it was asked for: one that is under way may have missed what has changed. */
  #scanAfter(quietMs: number): Promise<void> {
    const scan = this.#scanning.then(() => this.#scan(quietMs));
    this.#scanning = scan.catch(() => undefined);
    return scan;
  }

  /** @param quietMs how long a file that is new must not have been written to */
  async #scan(quietMs: number): Promise<void> {
    const complaints = new Set<string>();
    await this.#readDefinitions(complaints);
    const entries = new Map<string, CatalogueEntry>();
    for (const file of await this.#files(complaints)) {
      const id = this.#definitions.idOfFile(file.fileName, file.stem) ?? file.stem;
      const other = entries.get(id);
      if (other === undefined) {
        const entry = await this.#entry(id, file, quietMs);
        if (entry !== undefined) entries.set(id, entry);
      } else if (other.isBuiltIn === file.source.isBuiltIn) {
        complaints.add(`${file.paths[0] ?? ""} is ignored: ${other.path} is the model ${id} already.`);
      }
    }
    for (const complaint of complaints) if (!this.#complaints.has(complaint)) this.#log.warn(complaint);
    this.#complaints = complaints;
    this.#replace(entries);
  }

  async #readDefinitions(complaints: Set<string>): Promise<void> {
    const [own] = this.#sources;
    if (own === undefined) return;
    try {
      const text = await readModelsYaml(own.folder);
      if (text !== this.#yaml) this.#definitions = new Definitions(parseModelsYaml(own.folder, text));
      this.#yaml = text;
      this.#reading = { isUsable: true, succeededAtMs: Date.now() };
    } catch (thrown) {
      this.#reading = { ...this.#reading, isUsable: false };
      if (!(thrown instanceof LlamapodError)) throw thrown;
      complaints.add(`${thrown.message} What it said before still counts.`);
    }
  }

  async #files(complaints: Set<string>): Promise<ModelFile[]> {
    const files: ModelFile[] = [];
    for (const source of this.#sources) {
      try {
        files.push(...(await modelFiles(source)));
      } catch (thrown) {
        complaints.add(folderComplaint(source.folder, thrown));
      }
    }
    return files;
  }

  /** @returns nothing while the file is still being written */
  async #entry(id: string, file: ModelFile, quietMs: number): Promise<CatalogueEntry | undefined> {
    const known = this.#entries.get(id);
    const definition = { ...file.source.defaults, ...this.#definitions.get(id) };
    const isSame = known?.file.stamp === file.stamp && known.path === file.paths[0];
    if (isSame && isDeepStrictEqual(known.definition, definition)) return known;
    const ageMs = Date.now() - file.changedAtMs;
    if (!isSame && ageMs >= 0 && ageMs < quietMs) {
      for (const watch of this.#watches) watch.again(quietMs - ageMs);
      return known;
    }
    const header = isSame ? known.header : await readModelHeader(file);
    if (header instanceof LlamapodError && header !== known?.header) {
      this.#log.error({ model: id, reason: header.message }, "model file cannot be used");
    }
    const aliases = [...new Set([...(definition.aliases ?? []), file.stem])].filter((alias) => alias !== id);
    return { id, aliases, path: file.paths[0] ?? "", file, header, definition, isBuiltIn: file.source.isBuiltIn };
  }

  #replace(entries: ReadonlyMap<string, CatalogueEntry>): void {
    const before = this.#entries;
    this.#entries = entries;
    const change: CatalogueChange = {
      added: [...entries.keys()].filter((id) => !before.has(id)),
      removed: [...before.keys()].filter((id) => !entries.has(id)),
      changed: [...entries].filter(([id, entry]) => before.has(id) && before.get(id) !== entry).map(([id]) => id),
    };
    if (change.added.length + change.removed.length + change.changed.length === 0) return;
    for (const listener of this.#listeners) listener(change);
  }
}

function folderComplaint(folder: string, thrown: unknown): string {
  const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : String(thrown);
  return code === "ENOENT"
    ? `The models folder ${folder} does not exist yet; llamapod pull makes it.`
    : `The models folder ${folder} cannot be read: ${code}.`;
}

/** Tokens of a slot: no more than the model may have. */
export function contextSizeOf({ definition }: Pick<CatalogueEntry, "definition">, configured: number): number {
  return Math.min(configured, definition.contextSize ?? Infinity);
}

function isUsable(header: CatalogueEntry["header"] | undefined): header is GgufHeader {
  return header !== undefined && !(header instanceof LlamapodError);
}
