import { statSync } from "node:fs";
import { join } from "node:path";
import { published, type PublishedName } from "../../test/fixtures/shapes/published.ts";
import { forgetReads, residentMemory } from "../../test/support/runner-memory.ts";
import { Client } from "../client/client.ts";
import { makePrompt } from "../client/prompts.ts";
import type { Device } from "../servers/server.ts";
import { ShapeServer } from "./server.ts";

export interface ShapeRow {
  readonly title: string;
  /** What computes it: cpu, cuda. */
  readonly backend: string;
  readonly fileBytes: number;
  readonly estimatedBytes: number;
  /** After an answer, by the system's count: anonymous, and what the answer has read of the mapped file. */
  readonly ownBytes: number;
  readonly readBytes: number;
  /** The mapped file in all. */
  readonly mappedBytes: number;
  readonly peakBytes: number;
  /** GPU memory, expected and taken. */
  readonly estimatedVideoBytes: number;
  readonly videoBytes: number;
  readonly loadMs: number;
  readonly promptTokens: number;
  readonly prefillTokensPerSecond: number;
  readonly decodeTokensPerSecond: number;
}

const contextSize = 2_048;
const promptTokens = 128;
const answerTokens = 16;

/** On a server of its own, so that the process which is measured has held nothing else but the model that costs nothing. */
export async function measureShape(folder: string, name: PublishedName, device: Device): Promise<ShapeRow> {
  await using server = await ShapeServer.start(folder, { contextSize, device });
  const model = `${name}-shape`;
  const { needed } = await server.plan(model);
  const startedAt = performance.now();
  await server.make("load", model);
  const loadMs = performance.now() - startedAt;
  await forgetReads(server.runner);
  const trace = await new Client(server.port, model).complete({
    label: name,
    prompt: makePrompt(name, promptTokens),
    tokens: answerTokens,
  });
  const { backend, videoBytes } = await server.placed(model);
  const { own, read, mapped, peak } = await residentMemory(server.runner);
  const [first, last] = [trace.chunks[0]?.at ?? Number.NaN, trace.chunks.at(-1)?.at ?? Number.NaN];
  const prompt = trace.usage?.prompt_tokens ?? Number.NaN;
  return {
    title: published[name].title,
    backend,
    fileBytes: statSync(join(folder, `${model}.gguf`)).size,
    estimatedBytes: needed.ram_bytes,
    ownBytes: own,
    readBytes: read,
    mappedBytes: mapped,
    peakBytes: peak,
    estimatedVideoBytes: needed.vram_bytes,
    videoBytes,
    loadMs,
    promptTokens: prompt,
    prefillTokensPerSecond: prompt / ((first - trace.sentAt) / 1_000),
    decodeTokensPerSecond: (answerTokens - 1) / ((last - first) / 1_000),
  };
}
