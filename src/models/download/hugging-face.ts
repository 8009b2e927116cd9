import { z } from "zod";
import type { DownloadSettings } from "./settings.ts";
import { DownloadError, TransientError } from "./errors.ts";
import { ask, textOf, type Target } from "./http.ts";
import { safeFileName, type RemoteFile } from "./remote-file.ts";
import type { HuggingFaceFile } from "./target.ts";
import { modelNameOf, splitName } from "../gguf/split-name.ts";

const tree = z.array(
  z.object({
    type: z.string(),
    path: z.string(),
    size: z.number().optional(),
    lfs: z.object({ oid: z.string(), size: z.number() }).optional(),
  }),
);

type TreeFile = z.output<typeof tree>[number];

/** The files of a model in a repository of Hugging Face, or of a mirror: one, or all parts of a split one. */
export async function huggingFaceFiles(
  place: { readonly repository: string; readonly revision: string; readonly wanted: HuggingFaceFile },
  settings: DownloadSettings,
  signal: AbortSignal,
): Promise<RemoteFile[]> {
  const { repository, revision, wanted } = place;
  const remote = ({ path, size, lfs }: Pick<TreeFile, "path" | "size" | "lfs">): RemoteFile => {
    const fileName = safeFileName(path);
    if (fileName === undefined) throw new DownloadError("bad_target", `${path} in ${repository} is not the name of a GGUF file.`);
    const encoded = path.split("/").map(encodeURIComponent).join("/");
    const target = hubTarget(settings, `${repository}/resolve/${revision}/${encoded}`);
    return {
      target: () => Promise.resolve(target),
      fileName,
      sizeBytes: lfs?.size ?? size,
      sha256: lfs?.oid,
      denied: (status) => deniedMessage(repository, settings, status),
    };
  };
  const isSplit = "path" in wanted && splitName(wanted.path) !== undefined;
  if ("path" in wanted && !isSplit) return [remote({ path: wanted.path })];
  const files = (await listing(place, settings, signal)).filter(({ type, path }) => type === "file" && /\.gguf$/i.test(path));
  return chosen(files, place).map(remote);
}

function chosen(
  files: readonly TreeFile[],
  { repository, wanted }: { readonly repository: string; readonly wanted: HuggingFaceFile },
): readonly TreeFile[] {
  const group = (path: string) => modelNameOf(path).toLowerCase();
  const matches =
    "path" in wanted
      ? files.filter(({ path }) => group(path) === group(wanted.path))
      : files.filter(({ path }) => new RegExp(`(^|[^a-z0-9])${escape(wanted.quantisation)}([^a-z0-9_]|$)`, "i").test(path));
  const groups = new Set(matches.map(({ path }) => group(path)));
  if (groups.size === 1) return matches;
  const names = (groups.size === 0 ? files : matches).map(({ path }) => path);
  const shown = names.slice(0, 20).join(", ") || "none";
  const what = "path" in wanted ? wanted.path : wanted.quantisation;
  const problem = groups.size === 0 ? `has no GGUF file for ${what}` : `has more than one GGUF file for ${what}`;
  throw new DownloadError(
    "not_found",
    `${repository} ${problem}. Name one of: ${shown}; as in hf://${repository}/${names[0] ?? "file.gguf"}`,
  );
}

async function listing(
  { repository, revision }: { readonly repository: string; readonly revision: string },
  settings: DownloadSettings,
  signal: AbortSignal,
): Promise<TreeFile[]> {
  const target = hubTarget(settings, `api/models/${repository}/tree/${revision}?recursive=true`);
  const answer = await ask("GET", target, signal);
  const body = await textOf(answer);
  if (answer.status === 401 || answer.status === 403) {
    throw new DownloadError("denied", deniedMessage(repository, settings, answer.status));
  }
  if (answer.status === 404) {
    throw new DownloadError(
      "not_found",
      `There is no repository ${repository} (revision ${revision}) at ${settings.huggingFace.href}.`,
    );
  }
  if (answer.status >= 500 || answer.status === 429)
    throw new TransientError(`${target.url.host} answers with status ${answer.status}`);
  try {
    return tree.parse(JSON.parse(body));
  } catch (cause) {
    throw new DownloadError(
      "unreachable",
      `${target.url.host} does not answer like Hugging Face (status ${answer.status}). Is HF_ENDPOINT right?`,
      cause,
    );
  }
}

function hubTarget({ huggingFace, huggingFaceToken }: DownloadSettings, path: string): Target {
  const base = huggingFace.href.endsWith("/") ? huggingFace.href : `${huggingFace.href}/`;
  return {
    url: new URL(path, base),
    authorization: huggingFaceToken === undefined ? undefined : `Bearer ${huggingFaceToken}`,
  };
}

function deniedMessage(repository: string, { huggingFace, huggingFaceToken }: DownloadSettings, status: number): string {
  const page = new URL(repository, huggingFace.href.endsWith("/") ? huggingFace : `${huggingFace.href}/`).href;
  return huggingFaceToken === undefined
    ? `${repository} asks who you are (status ${status}): it does not exist, or its licence has to be accepted. Accept it at ${page}, make a token at ${new URL("/settings/tokens", huggingFace).href}, and set HF_TOKEN.`
    : `${repository} does not let the owner of HF_TOKEN in (status ${status}). Accept the licence at ${page} with the same account, and check that the token may read gated repositories.`;
}

function escape(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}
