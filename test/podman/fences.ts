import { readdir, readFile } from "node:fs/promises";
import { basename } from "node:path";

/** What the label of a fenced `sh` block says about where its commands can be carried out. */
const labels = {
  "": "anywhere",
  "needs-systemd": "systemd",
  "needs-registry": "registry",
  "needs-hardware": "hardware",
  "needs-newer-podman-compose": "compose",
} as const;

export type Needs = (typeof labels)[keyof typeof labels];

export interface Block {
  /** The page and the line of the first command, for messages. */
  readonly place: string;
  /** The page and the heading that it stands under, as a link to it is written: `compose.md#keys`. */
  readonly anchor: string;
  readonly needs: Needs;
  readonly commands: readonly string[];
}

/** Fences of these hold no commands. */
const others = ["yaml", "json", "ini", "toml", "text"];

const folder = "docs/podman";

/** What a reader puts in for the words that stand for something. */
const placeholders = { NAME: "llamapod-demo-sv" };

export function filledIn(command: string): string {
  return Object.entries(placeholders).reduce(
    (text, [word, value]) => text.replaceAll(new RegExp(`\\b${word}\\b`, "g"), value),
    command,
  );
}

/**
 * Every command of the pages about containers, in their order.
 *
 * @throws {Error} for a label that nobody knows: its commands would be run nowhere, without a word
 */
export async function collectBlocks(): Promise<readonly Block[]> {
  const pages = (await readdir(folder)).filter((name) => name.endsWith(".md")).sort();
  const blocks = await Promise.all(pages.map((name) => `${folder}/${name}`).map(blocksOf));
  const readme = (await blocksOf("README.md")).filter(({ commands }) => commands.some((command) => command.includes("podman")));
  return [...readme, ...blocks.flat()];
}

async function blocksOf(page: string): Promise<readonly Block[]> {
  return parseBlocks(page, await readFile(page, "utf8"));
}

export function parseBlocks(page: string, text: string): readonly Block[] {
  const blocks: Block[] = [];
  for (const { 0: fence, 1: info = "", 2: body = "", index } of text.matchAll(/^```(.*)\n([^]*?)^```$/gm)) {
    const [language = "", ...words] = info.split(" ");
    const before = text.slice(0, index);
    const place = `${page}:${before.split("\n").length + 1}`;
    if (others.includes(language) && words.length === 0) continue;
    const label = words.join(" ");
    if (language !== "sh" || !isLabel(label)) throw new Error(`${place}: nobody knows the fence ${fence.split("\n")[0] ?? ""}`);
    const commands = body
      .replaceAll("\\\n", " ")
      .split("\n")
      .filter((line) => line.trim() !== "" && !line.startsWith("#"));
    blocks.push({ place, anchor: `${basename(page)}#${headingOf(before)}`, needs: labels[label], commands });
  }
  return blocks;
}

/** The last heading of a text, as GitHub names it in links. */
function headingOf(text: string): string {
  const prose = text.replaceAll(/^```[^]*?^```$/gm, "");
  const heading = [...prose.matchAll(/^#+ (.*)$/gm)].at(-1)?.[1] ?? "";
  return heading
    .toLowerCase()
    .replaceAll(/[^\w -]/g, "")
    .replaceAll(" ", "-");
}

function isLabel(label: string): label is keyof typeof labels {
  return label in labels;
}
