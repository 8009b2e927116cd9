import type { LoadCommand } from "../protocol/runner.ts";
import { contextSizeOf, type CatalogueEntry } from "./catalogue.ts";
import { metadataString, vocabularySize, type GgufHeader } from "./gguf/header.ts";
import type { EstimateSettings } from "./memory/estimates.ts";

/** What a runner is told to load a model. */
export function loadCommand({ path, definition }: CatalogueEntry, header: GgufHeader, settings: EstimateSettings): LoadCommand {
  return {
    type: "load",
    path,
    contextSize: contextSizeOf({ definition }, settings.contextSize),
    slots: settings.slots,
    batchSize: settings.batchSize,
    vocabularySize: vocabularySize(header),
    template: definition.chatTemplate ?? metadataString(header, "tokenizer.chat_template"),
  };
}
