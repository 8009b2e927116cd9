import { createHash } from "node:crypto";
import { z } from "zod";
import { DownloadError, TransientError } from "./errors.ts";
import { ask, bytesOf, type Answer, type Target } from "./http.ts";
import type { PackedLayer, PackedModel } from "./packed-model.ts";
import { RegistryAccess } from "./registry-access.ts";
import { safeFileName, type RemoteFile } from "./remote-file.ts";
import { partName } from "../gguf/split-name.ts";

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);

const layer = z.object({
  mediaType: z.string(),
  digest,
  size: z.number(),
  annotations: z.record(z.string(), z.string()).nullish(),
});

const manifest = z.object({ layers: z.array(layer) });
const index = z.object({ manifests: z.array(z.object({ digest })).max(64) });

type Layer = z.output<typeof layer>;

const accepted = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
].join(", ");

interface Place {
  readonly registry: string;
  readonly name: string;
  readonly reference: string;
}

/** What a registry has: GGUF files that are layers, or an image with one somewhere in its layers' archives. */
export type OciContent =
  { readonly kind: "files"; readonly files: readonly RemoteFile[] } | { readonly kind: "packed"; readonly model: PackedModel };

/**
 * The model of an artefact or an image: layers that are GGUF files, as RamaLama, Docker, Ollama and ORAS put them there, or layers that are
 * archives, as `podman build` makes them.
 */
export async function ociContent(place: Place, signal: AbortSignal): Promise<OciContent> {
  const access = new RegistryAccess(place.registry, place.name);
  const { files, archives } = await modelLayers(place, access, signal);
  const remote = (layer: Layer, fileName: string) => ({
    target: (aborted: AbortSignal) => access.target(`blobs/${layer.digest}`, aborted),
    fileName,
    sizeBytes: layer.size,
    sha256: layer.digest.slice("sha256:".length),
    denied: (status: number) => deniedMessage(place, status),
  });
  if (files.length > 0) {
    const named = files.map((each, number) => remote(each, fileNameOf(place, each, files.length, number)));
    return { kind: "files", files: named };
  }
  const [top] = archives;
  if (top === undefined) {
    throw new DownloadError(
      "not_found",
      `${nameOf(place)} holds no GGUF file: none of its layers is one, by media type or by title, and none is an archive.`,
    );
  }
  const fileName = fileNameOf(place, top, 1, 0);
  const layers = archives.map((each) => ({ file: remote(each, fileName), compression: compressionOf(place, each) }));
  return { kind: "packed", model: { name: nameOf(place), fileName, layers } };
}

interface ModelLayers {
  readonly files: readonly Layer[];
  /** The topmost first. */
  readonly archives: readonly Layer[];
}

async function modelLayers(place: Place, access: RegistryAccess, signal: AbortSignal): Promise<ModelLayers> {
  const document = await fetchManifest(place, access, place.reference, signal);
  const image = manifest.safeParse(document);
  if (image.success) return layersOf(image.data);
  const many = index.safeParse(document);
  if (!many.success)
    throw new DownloadError("unreachable", `${nameOf(place)} is neither an image nor an artefact: ${image.error.message}`);
  let found: ModelLayers = { files: [], archives: [] };
  for (const { digest: reference } of many.data.manifests) {
    const single = manifest.safeParse(await fetchManifest(place, access, reference, signal));
    if (!single.success) continue;
    const layers = layersOf(single.data);
    if (layers.files.length > 0) return layers;
    if (found.archives.length === 0) found = layers;
  }
  return found;
}

function layersOf({ layers }: z.output<typeof manifest>): ModelLayers {
  return { files: layers.filter(isGguf), archives: layers.filter(isArchive).reverse() };
}

function isGguf(layer: Layer): boolean {
  const { mediaType, annotations } = layer;
  return /gguf|vnd\.ollama\.image\.model/i.test(mediaType) || (titleOf(annotations) !== undefined && !isArchive(layer));
}

function isArchive({ mediaType }: Layer): boolean {
  return /\.tar\b|\+gzip$|\+zstd$/.test(mediaType);
}

function compressionOf(place: Place, { mediaType }: Layer): PackedLayer["compression"] {
  if (mediaType.endsWith(".tar")) return "none";
  if (/[.+]gzip$/.test(mediaType)) return "gzip";
  throw new DownloadError(
    "bad_target",
    `${nameOf(place)} has a layer of the type ${JSON.stringify(mediaType)}, which cannot be unpacked here. Push it anew with: podman push --compression-format gzip --force-compression`,
  );
}

function titleOf(annotations: Layer["annotations"]): string | undefined {
  return safeFileName(annotations?.["org.opencontainers.image.title"] ?? annotations?.["org.cncf.model.filepath"] ?? "");
}

function fileNameOf(place: Place, { annotations }: Layer, count: number, number: number): string {
  const title = titleOf(annotations);
  if (title !== undefined) return title;
  const reference = place.reference.startsWith("sha256:") ? place.reference.slice(7, 19) : place.reference;
  const stem = [place.name.split("/").at(-1) ?? "model", ...(reference === "latest" ? [] : [reference])].join("-");
  return count === 1 ? `${stem}.gguf` : partName({ stem, number: number + 1, count });
}

async function fetchManifest(place: Place, access: RegistryAccess, reference: string, signal: AbortSignal): Promise<unknown> {
  const target = await access.target(`manifests/${reference}`, signal);
  const answer = await ask("GET", withAccept(target), signal);
  const body = await bytesOf(answer);
  checkStatus(place, answer);
  const found = `sha256:${createHash("sha256").update(body).digest("hex")}`;
  // All that is pulled is held to the digests in it; only its own says that they are the right ones.
  if (reference.startsWith("sha256:") && reference !== found) {
    throw new DownloadError(
      "damaged",
      `The manifest ${reference} of ${nameOf(place)} is not what its digest says: what came has ${found}. Nothing was pulled. Try again; if it happens again, the registry has damaged it, or somebody has changed it.`,
    );
  }
  try {
    return JSON.parse(body.toString());
  } catch (cause) {
    throw new DownloadError("unreachable", `${place.registry} does not answer like a registry. Is the address right?`, cause);
  }
}

function withAccept(target: Target): Target {
  return { ...target, headers: { ...target.headers, Accept: accepted } };
}

function checkStatus(place: Place, { status }: Answer): void {
  if (status === 200) return;
  if (status === 401 || status === 403) throw new DownloadError("denied", deniedMessage(place, status));
  if (status === 404)
    throw new DownloadError("not_found", `The registry ${place.registry} has no ${place.name}:${place.reference}.`);
  if (status === 429 || status >= 500) throw new TransientError(`${place.registry} answers with status ${status}`);
  throw new DownloadError(
    "unreachable",
    `${place.registry} answers with status ${status}, unlike a registry. Is the address right?`,
  );
}

function deniedMessage(place: Place, status: number): string {
  return `The registry ${place.registry} refuses ${place.name} (status ${status}): it is private or does not exist. Log in with: podman login ${place.registry}`;
}

function nameOf({ registry, name, reference }: Place): string {
  return `oci://${registry}/${name}${reference.startsWith("sha256:") ? "@" : ":"}${reference}`;
}
