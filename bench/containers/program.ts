import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** What a program that ends by itself has written. @throws {Error} with what it said, unless it succeeds */
export async function runProgram(name: string, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(name, args);
  return stdout.trim();
}
