import type { z } from "zod";
import type { flatToolFields, OfferedTool, toolFields, ToolUse } from "../protocol/tools.ts";

type Fields<Schemas extends Readonly<Record<string, z.ZodType>>> = { readonly [Name in keyof Schemas]?: z.output<Schemas[Name]> };

type FlatFields = Fields<typeof flatToolFields>;

/** The tools of a request and how they are to be used; undefined where none may be. */
export function toolUseOf({
  tools = [],
  tool_choice: choice,
  parallel_tool_calls: parallel,
}: Fields<typeof toolFields>): ToolUse | undefined {
  const offered = tools.map(({ function: described }, index) => offer(described, `tools.${index}.function.parameters`));
  return use(offered, typeof choice === "object" ? choice.function : choice, parallel);
}

/** The same of a request of the Responses API. */
export function flatToolUseOf({
  tools = [],
  tool_choice: choice,
  parallel_tool_calls: parallel,
}: FlatFields): ToolUse | undefined {
  const offered = tools.map((described, index) => offer(described, `tools.${index}.parameters`));
  return use(offered, choice, parallel);
}

type Described = NonNullable<FlatFields["tools"]>[number];

function offer({ name, description, parameters, strict }: Omit<Described, "type">, field: string): OfferedTool {
  return { name, description, parameters: parameters ?? undefined, isStrict: strict ?? false, field };
}

function use(
  tools: OfferedTool[],
  choice: "none" | "auto" | "required" | { readonly name: string } | undefined,
  parallel: boolean | undefined,
): ToolUse | undefined {
  if (tools.length === 0 || choice === "none") return undefined;
  const chosen = typeof choice === "object" ? { name: choice.name } : (choice ?? "auto");
  return { tools, choice: chosen, isParallel: parallel ?? true };
}
