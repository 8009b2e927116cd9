import { DownloadError } from "./errors.ts";

/** What a user names to be pulled, taken apart. */
export type PullTarget =
  | { readonly kind: "hugging-face"; readonly repository: string; readonly revision: string; readonly wanted: HuggingFaceFile }
  | { readonly kind: "web"; readonly url: URL }
  | { readonly kind: "oci"; readonly registry: string; readonly name: string; readonly reference: string }
  | { readonly kind: "file"; readonly path: string };

/** A file by its path in the repository, or by its quantisation, such as `Q4_K_M`. */
export type HuggingFaceFile = { readonly path: string } | { readonly quantisation: string };

const defaultQuantisation = "Q4_K_M";

const oci = /^([^/]+)\/([a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::([\w][\w.-]{0,127})|@(sha256:[0-9a-f]{64}))?$/;
const huggingFaceFile = /^([\w.-]+\/[\w.-]+)\/([^@]+\.gguf)(?:@([\w.-]+))?$/i;
const huggingFaceRepository = /^([\w.-]+\/[\w.-]+)(?::([\w.-]+))?(?:@([\w.-]+))?$/;

/** @throws {DownloadError} `bad_target`, with the forms there are */
export function parseTarget(text: string): PullTarget {
  const web = /^https?:\/\//i.test(text);
  if (web && URL.canParse(text)) return { kind: "web", url: new URL(text) };
  if (text.startsWith("oci://")) return parseOci(text);
  if (/^(?:\.{0,2}\/|~\/|file:)/.test(text)) return { kind: "file", path: text.replace(/^file:(?:\/\/)?/, "") };
  const named = text.replace(/^(?:hf:\/\/|hf\.co\/|huggingface\.co\/)/i, "");
  const file = huggingFaceFile.exec(named);
  if (file !== null) {
    const [, repository = "", path = "", revision = "main"] = file;
    if (path.split("/").includes("..")) throw badTarget(text);
    return { kind: "hugging-face", repository, revision, wanted: { path } };
  }
  const repository = huggingFaceRepository.exec(named);
  if (repository === null) throw badTarget(text);
  const [, name = "", quantisation = defaultQuantisation, revision = "main"] = repository;
  return { kind: "hugging-face", repository: name, revision, wanted: { quantisation } };
}

function parseOci(text: string): PullTarget {
  const [, registry, name, tag, digest] = oci.exec(text.slice("oci://".length)) ?? [];
  if (registry === undefined || name === undefined) throw badTarget(text);
  return { kind: "oci", registry, name, reference: digest ?? tag ?? "latest" };
}

function badTarget(text: string): DownloadError {
  return new DownloadError(
    "bad_target",
    `${JSON.stringify(text)} is no model of the catalogue and nothing else that can be pulled. Give an id (see: llamapod list), owner/repository:Q4_K_M or hf://owner/repository/file.gguf of Hugging Face, https://host/file.gguf, oci://registry/name:tag, or the path of a file, beginning with / or ./`,
  );
}
