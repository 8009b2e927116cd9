import { availableParallelism } from "node:os";
import { join } from "node:path";
import { operationObject, planObject, type PlanObject } from "../../src/protocol/operator.ts";
import { sample, scrape } from "../../test/support/metrics.ts";
import { runnersOf } from "../../test/support/processes.ts";
import { llamapod } from "../servers/llamapod.ts";
import type { ServerSettings } from "../servers/server.ts";
import { RunningServer } from "../servers/running-server.ts";

/** A model that costs next to nothing, for a server to begin with. */
export const starter = "starter";

type ShapeSettings = Pick<ServerSettings, "contextSize" | "device">;

/** llamapod over the folder of shapes, with room for one model at a time. */
export class ShapeServer implements AsyncDisposable {
  readonly #server: RunningServer;

  private constructor(server: RunningServer) {
    this.#server = server;
  }

  static async start(folder: string, shape: ShapeSettings, more: readonly string[] = []): Promise<ShapeServer> {
    const server = llamapod(["--max-resident", "1", "--warm-spare", "off", "--demo-models", "false", ...more]);
    const modelPath = join(folder, `${starter}.gguf`);
    const settings = { modelPath, threads: availableParallelism(), slots: 1, ...shape };
    return new ShapeServer(await RunningServer.start(server, settings));
  }

  get port(): number {
    return this.#server.port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** The process that holds a model. */
  get runner(): number {
    const [pid, ...others] = runnersOf(this.#server.pid);
    if (pid === undefined || others.length > 0) throw new Error(`there are ${others.length + 1} runners and not one`);
    return pid;
  }

  async plan(model: string): Promise<PlanObject> {
    return planObject.parse(await this.#post(`api/models/${model}/plan`));
  }

  /** What computes a loaded model, and what it has taken of the GPU, in bytes. */
  async placed(model: string): Promise<{ readonly backend: string; readonly videoBytes: number }> {
    const scraped = await scrape(this.url);
    const series = [...scraped.keys()].find(
      (name) => name.startsWith("llamapod_model_info{") && name.includes(`model="${model}"`),
    );
    const backend = /backend="(\w+)"/.exec(series ?? "")?.[1];
    if (backend === undefined) throw new Error(`${model} is not loaded`);
    return { backend, videoBytes: sample(scraped, "llamapod_model_video_memory_bytes", { model }) };
  }

  /** @returns when the model answers */
  async make(what: "load" | "switch", model: string): Promise<void> {
    const { id } = operationObject.parse(await this.#post(`api/models/${model}/${what}`));
    const response = await fetch(`${this.url}/api/operations/${id}`, { headers: { Accept: "text/event-stream" } });
    const events = (await response.text()).split("\n").filter((line) => line.startsWith("data: "));
    const { state, error } = operationObject.parse(JSON.parse(events.at(-1)?.slice("data: ".length) ?? "null"));
    if (state !== "done") throw new Error(`${what} of ${model}: ${state}, ${error?.message ?? "no reason given"}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop();
  }

  async #post(path: string): Promise<unknown> {
    const response = await fetch(`${this.url}/${path}`, { method: "POST" });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }
}
