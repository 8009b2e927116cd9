/** What a command's exit code means. `docs/command-line.md` and `--help` show this table. */
export const exitCodes = {
  ok: { code: 0, meaning: "it worked" },
  failed: { code: 1, meaning: "it did not work; the message says why" },
  usage: { code: 2, meaning: "a flag, a setting or an argument cannot be used" },
  startFailed: { code: 3, meaning: "the server cannot start as it was told to, such as on a GPU or with a model" },
  notFound: { code: 8, meaning: "there is no such model, or its file is not here" },
  unreachable: { code: 4, meaning: "the server, or the place to download from, cannot be reached" },
  denied: { code: 5, meaning: "access was refused: a licence to accept, a token or a key is missing" },
  damaged: { code: 6, meaning: "what was downloaded is not what it should be" },
  noSpace: { code: 7, meaning: "there is not enough disk space" },
  interrupted: { code: 130, meaning: "it was interrupted with Ctrl-C; a pull goes on where it was" },
} as const satisfies Record<string, { readonly code: number; readonly meaning: string }>;

export type ExitReason = keyof typeof exitCodes;

/** Ends a command with a message for the user, and no stack trace. */
export class CommandError extends Error {
  readonly reason: ExitReason;

  constructor(reason: ExitReason, message: string, cause?: unknown) {
    super(message, { cause });
    this.reason = reason;
  }

  get exitCode(): number {
    return exitCodes[this.reason].code;
  }
}

export function exitCodeHelp(): string {
  const rows = Object.values(exitCodes).map(({ code, meaning }) => `  ${String(code).padStart(3)}  ${meaning}`);
  return `\nExit codes:\n${rows.join("\n")}`;
}
