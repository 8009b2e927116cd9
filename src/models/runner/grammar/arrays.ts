import type { JsonSchema } from "../../../protocol/json-schema.ts";
import { anyArray, space } from "./json.ts";
import type { CompilePart } from "./objects.ts";
import type { Rules } from "./rules.ts";
import { isSchema, type SchemaSource } from "./schema.ts";

/**
 * An array. Items that have a place of their own are all written; what follows them is what `items` says, and nothing where it says
 * nothing.
 *
 * @param count of items, already found to be possible
 * @returns undefined where no array satisfies it
 */
export function arrayOf(
  rules: Rules,
  schema: JsonSchema,
  source: SchemaSource,
  compile: CompilePart,
  count: { readonly min: number; readonly max: number | undefined },
): string | undefined {
  const { items, prefixItems, uniqueItems } = schema;
  if (uniqueItems === true) throw source.refusal(schema, "uniqueItems", "cannot be enforced");
  if (items !== undefined && !isSchema(items)) throw source.refusal(schema, "items", "has to be a schema");
  const placed: unknown[] = Array.isArray(prefixItems) ? prefixItems.slice(0, count.max) : [];
  if (!placed.every(isSchema)) throw source.refusal(schema, "prefixItems", "has to be a list of schemas");
  if (items === undefined && placed.length === 0 && count.min === 0 && count.max === undefined) return anyArray(rules);

  const ws = space(rules);
  const first = placed.map(compile);
  if (first.some((item) => item === undefined)) return undefined;
  const rest = items === undefined && placed.length > 0 ? undefined : compile(items ?? true);
  const least = Math.max(0, count.min - placed.length);
  const most = count.max === undefined ? undefined : count.max - placed.length;
  if (least > 0 && rest === undefined) return undefined;
  const comma = `"," ${ws}`;
  const beginning = first.join(` ${comma} `);
  if (rest === undefined || most === 0) return rules.add(`"[" ${ws} ${beginning} ${beginning === "" ? "" : ws} "]"`);
  const item = rules.add(rest);
  const following = (min: number, max: number | undefined) => rules.repeat(rules.add(`${comma} ${item}`), min, max);
  if (first.length > 0) return rules.add(`"[" ${ws} ${beginning} ${following(least, most)} ${ws} "]"`);
  const list = `${item} ${following(Math.max(0, least - 1), most === undefined ? undefined : most - 1)} ${ws}`;
  return rules.add(`"[" ${ws} ${least > 0 ? list : `(${list})?`} "]"`);
}
