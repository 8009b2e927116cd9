import assert from "node:assert/strict";

export interface OperationBody {
  readonly id: string;
  readonly kind: string;
  readonly model: string;
  readonly state: "queued" | "running" | "done" | "failed" | "cancelled";
  readonly phase: string | null;
  readonly done_bytes: number;
  readonly total_bytes: number;
  readonly error: { readonly code: string; readonly message: string } | null;
}

export interface PlanBody {
  readonly outcome: string;
  readonly evicts: readonly string[];
  readonly missing: { readonly ram_bytes: number } | null;
  readonly needed: { readonly ram_bytes: number };
}

/** Works on a server's models over its HTTP API, as an operator's script does. */
export class Operator {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  /** Begins an operation. */
  async begin(kind: "switch" | "load" | "unload", model: string): Promise<OperationBody> {
    const response = await fetch(`${this.#url}/api/models/${model}/${kind}`, { method: "POST" });
    const operation = (await response.json()) as OperationBody;
    assert.equal(response.status, 202, JSON.stringify(operation));
    assert.equal(response.headers.get("location"), `/api/operations/${operation.id}`);
    return operation;
  }

  /** Follows an operation to its end. */
  async follow({ id }: OperationBody): Promise<readonly OperationBody[]> {
    const response = await fetch(`${this.#url}/api/operations/${id}`, { headers: { Accept: "text/event-stream" } });
    const events = (await response.text()).split("\n\n").flatMap((event) => /^data: (.*)$/m.exec(event)?.[1] ?? []);
    return events.map((event) => JSON.parse(event) as OperationBody);
  }

  async end(operation: OperationBody): Promise<OperationBody> {
    return (await this.follow(operation)).at(-1) ?? assert.fail("the stream was empty");
  }

  /** Begins an operation, and waits for its end. */
  async run(kind: "switch" | "load" | "unload", model: string): Promise<OperationBody> {
    return this.end(await this.begin(kind, model));
  }

  async cancel({ id }: OperationBody): Promise<OperationBody> {
    const response = await fetch(`${this.#url}/api/operations/${id}`, { method: "DELETE" });
    return (await response.json()) as OperationBody;
  }

  async plan(model: string): Promise<PlanBody> {
    const response = await fetch(`${this.#url}/api/models/${model}/plan`, { method: "POST" });
    return (await response.json()) as PlanBody;
  }

  /** The states of the models, by id; the active one is marked. */
  async states(): Promise<Record<string, string>> {
    const response = await fetch(`${this.#url}/api/models`);
    const { models } = (await response.json()) as { models: { id: string; state: string; active: boolean }[] };
    return Object.fromEntries(models.map(({ id, state, active }) => [id, active ? `${state} active` : state]));
  }
}
