import { stat } from "node:fs/promises";
import { Command } from "commander";
import { DownloadError, type DownloadFailure } from "../models/download/errors.ts";
import { sha256Of } from "../models/download/model-folder.ts";
import { pullModel, type PulledModel } from "../models/download/pull.ts";
import { downloadSettings } from "../models/download/settings.ts";
import type { Catalogue, CatalogueEntry } from "../models/catalogue.ts";
import { LlamapodError } from "../protocol/errors.ts";
import { CommandError, type ExitReason } from "./exit-codes.ts";
import { bytes, printJsonLine } from "./output.ts";
import { PullDisplay } from "./progress-bar.ts";
import { catalogueOf, commonOptions, configOf, withJson, withModelsFolder } from "./settings.ts";

const reasons: Readonly<Record<DownloadFailure, ExitReason>> = {
  bad_target: "usage",
  not_found: "notFound",
  unreachable: "unreachable",
  denied: "denied",
  damaged: "damaged",
  no_space: "noSpace",
  folder_not_writable: "failed",
  cancelled: "interrupted",
};

export function pullCommand(): Command {
  const command = new Command("pull")
    .description("download a model into the models folder")
    .argument("<model>", "an id of `llamapod list`, or where the model is")
    .option("--force", "download it even if it is here, and replace what has its name")
    .option("--link", "link a local file instead of copying it")
    .option("--quiet", "show no progress")
    .addHelpText(
      "after",
      `
A model can be named by
  its id                            qwen2.5-0.5b
  a repository of Hugging Face      owner/repository:Q4_K_M  (Q4_K_M is the default)
  a file there                      hf://owner/repository/file.gguf[@revision]
  an address                        https://host/file.gguf
  an artefact or image in a registry  oci://registry/name:tag
  a path                            ./file.gguf

A download that was stopped or broke off goes on where it was when the command is repeated. What arrives is
checked (size, sha256, GGUF header) before it is listed; a running server sees it at once.

Environment:
  HF_TOKEN      token of Hugging Face, for models whose licence has to be accepted
  HF_ENDPOINT   a mirror of Hugging Face
Registries use the logins that podman login and docker login keep.

Examples:
  llamapod pull qwen2.5-0.5b
  llamapod pull bartowski/SmolLM2-135M-Instruct-GGUF:Q8_0
  llamapod pull oci://localhost:5000/models/tiny:latest
  llamapod pull ./my-model.gguf --link`,
    );
  withJson(withModelsFolder(command));
  return command.action(async (model: string, flags: { force?: true; link?: true; quiet?: true }) => {
    const options = commonOptions(command);
    const config = configOf(options);
    const style = flags.quiet === true ? "silent" : options.json || !process.stderr.isTTY ? "json" : "bar";
    const display = new PullDisplay(style);
    const catalogue = await catalogueOf(config);
    try {
      const pulled = await pull(catalogue, model, config.modelsDir, flags, display);
      display.end();
      await catalogue.scan();
      const id = catalogue.entries.find(({ file }) => file.paths.includes(pulled.path))?.id ?? model;
      if (options.json || style === "json") printJsonLine({ model: id, ...pulledJson(pulled) });
      else
        process.stdout.write(
          `${id} ${pulled.wasHere ? "is here already" : "is ready"}: ${pulled.path} (${bytes(pulled.sizeBytes)})\n`,
        );
    } catch (thrown) {
      display.end();
      if (!(thrown instanceof DownloadError)) throw thrown;
      throw new CommandError(reasons[thrown.failure], thrown.message, thrown);
    }
  });
}

async function pull(
  catalogue: Catalogue,
  model: string,
  folder: string,
  { force, link }: { force?: true; link?: true },
  display: PullDisplay,
): Promise<PulledModel> {
  const known = catalogue.definition(model)?.definition;
  const here = known?.source === undefined ? catalogue.get(model) : undefined;
  if (here !== undefined && force === true) {
    throw new CommandError("usage", `${model} is here, and where it could be fetched from again is not known.`);
  }
  if (here === undefined && known !== undefined && known.source === undefined) {
    throw new CommandError("usage", `models.yaml gives no source for ${model}. Add one, or put its file into ${folder}.`);
  }
  const stopping = new AbortController();
  const stop = () => {
    stopping.abort();
  };
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    if (here !== undefined) return await asItIs(here, stopping.signal, display);
    return await pullModel({
      request: {
        source: known?.source ?? model,
        definition: known ?? {},
        folder,
        localFile: link === true ? "link" : "copy",
        existing: force === true ? "again" : "keep",
      },
      settings: await downloadSettings(process.env),
      signal: stopping.signal,
      onProgress: (progress) => {
        display.update(progress);
      },
    });
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}

/** Of a model of which nothing is known but its file. */
async function asItIs({ file, header }: CatalogueEntry, signal: AbortSignal, display: PullDisplay): Promise<PulledModel> {
  if (header instanceof LlamapodError) throw new CommandError("damaged", header.message, header);
  const files = [];
  for (const path of file.paths) {
    const { size: sizeBytes } = await stat(path);
    const sha256 = await sha256Of(path, signal, (bytes) => {
      display.update({ phase: "verifying", file: path, bytes, totalBytes: sizeBytes });
    });
    files.push({ path, source: path, sizeBytes, sha256 });
  }
  return { path: file.paths[0] ?? "", sizeBytes: header.fileBytes, files, wasHere: true };
}

function pulledJson({ path, sizeBytes, files, wasHere }: PulledModel): object {
  return {
    state: wasHere ? "unchanged" : "pulled",
    path,
    size_bytes: sizeBytes,
    files: files.map((file) => ({ path: file.path, size_bytes: file.sizeBytes, sha256: file.sha256, source: file.source })),
  };
}
