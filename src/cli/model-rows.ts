import type { Catalogue, CatalogueEntry } from "../models/catalogue.ts";
import { metadataNumber } from "../models/gguf/header.ts";
import { LlamapodError } from "../protocol/errors.ts";

/** What `list` says about a model, with and without a file; also its JSON. */
export interface ModelRow {
  readonly id: string;
  readonly state: "available" | "invalid" | "not_downloaded";
  readonly title: string | undefined;
  readonly aliases: readonly string[];
  readonly size_bytes: number | undefined;
  readonly context_size: number | undefined;
  readonly architecture: string | undefined;
  readonly licence: string | undefined;
  readonly path: string | undefined;
  readonly source: string | undefined;
  readonly reason: string | undefined;
}

export function modelRows(catalogue: Catalogue): ModelRow[] {
  const missing = catalogue.missing.map(({ id, definition }): ModelRow => ({
    id,
    state: "not_downloaded",
    title: definition.title,
    aliases: definition.aliases ?? [],
    size_bytes: definition.sizeBytes,
    context_size: definition.contextSize,
    architecture: undefined,
    licence: definition.licence?.name,
    path: undefined,
    source: definition.source,
    reason: undefined,
  }));
  return [...catalogue.entries.map(presentRow), ...missing];
}

export function presentRow({ id, aliases, path, header, definition }: CatalogueEntry): ModelRow {
  const common = { id, title: definition.title, aliases, path, licence: definition.licence?.name, source: definition.source };
  if (header instanceof LlamapodError) {
    const unknown = { size_bytes: undefined, context_size: undefined, architecture: undefined };
    return { ...common, ...unknown, state: "invalid", reason: header.message };
  }
  const { architecture } = header;
  const trained = metadataNumber(header, `${architecture}.context_length`);
  return {
    ...common,
    state: "available",
    size_bytes: header.fileBytes,
    context_size: definition.contextSize ?? trained,
    architecture,
    reason: undefined,
  };
}
