import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse, YAMLParseError } from "yaml";
import { z } from "zod";
import { LlamapodError } from "../../protocol/errors.ts";
import { modelDefinitions, type ModelDefinition } from "./definition.ts";

const document = z.strictObject({ models: modelDefinitions.nullish() });

const name = "models.yaml";

/** The text of `models.yaml` in the models folder; nothing where there is none. @throws {LlamapodError} `model_load_failed` */
export async function readModelsYaml(folder: string): Promise<string> {
  const path = join(folder, name);
  try {
    return await readFile(path, "utf8");
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return "";
    throw unusable(path, reasonOf(thrown));
  }
}

/** What the operator says about models, by id. @throws {LlamapodError} `model_load_failed`, naming the place and the reason */
export function parseModelsYaml(folder: string, text: string): Readonly<Record<string, ModelDefinition>> {
  try {
    return document.parse(parse(text) ?? {}).models ?? {};
  } catch (thrown) {
    throw unusable(join(folder, name), reasonOf(thrown));
  }
}

function reasonOf(thrown: unknown): string {
  if (thrown instanceof z.ZodError) {
    const [issue] = thrown.issues;
    return `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "cannot be used"}`;
  }
  if (thrown instanceof YAMLParseError) return thrown.message.split("\n")[0] ?? thrown.message;
  return thrown instanceof Error ? thrown.message : String(thrown);
}

function unusable(path: string, reason: string): LlamapodError {
  return new LlamapodError("model_load_failed", `${path} cannot be used: ${reason}.`);
}
