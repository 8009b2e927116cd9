import { LlamapodError } from "./errors.ts";

/** What a key may do: ask for answers, or change what the server has loaded. */
export const scopes = ["chat", "admin"] as const;

export type Scope = (typeof scopes)[number];

/** Who asks. Generations belong to the caller that began them. */
export interface Caller {
  readonly id: string;
  readonly scopes: ReadonlySet<Scope>;
}

/** @throws {LlamapodError} `insufficient_scope` */
export function requireScope(caller: Caller, scope: Scope): void {
  if (caller.scopes.has(scope)) return;
  throw new LlamapodError("insufficient_scope", `The key ${caller.id} may not do this: it lacks the scope ${scope}.`);
}
