import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { z } from "zod";

export const repository = new URL("../../../", import.meta.url);
const tool = new URL("tools/demo-model/", repository);

const heldOutQuestions = z.array(
  z.object({
    intent: z.string(),
    group: z.string(),
    before: z.array(z.string()),
    question: z.string(),
    facts: z.array(z.string()),
  }),
);

export type HeldOutQuestion = z.output<typeof heldOutQuestions>[number];

/** Questions that no training has seen, with what a right answer says. */
export async function heldOut(language: string): Promise<HeldOutQuestion[]> {
  return heldOutQuestions.parse(JSON.parse(await readFile(new URL(`held-out.${language}.json`, tool), "utf8")));
}

/** All that the demo models were taught to say. */
export async function taughtAnswers(): Promise<string[]> {
  const folder = new URL("data/", tool);
  const names = await readdir(fileURLToPath(folder), { recursive: true });
  const files = names.filter((name) => name.endsWith(".txt"));
  const texts = await Promise.all(files.map((name) => readFile(new URL(name, folder), "utf8")));
  return texts.flatMap((text) => text.split("\n")).filter((line) => line.startsWith("! "));
}
