import { z } from "zod";
import { DownloadError, TransientError } from "./errors.ts";
import { ask, textOf, type Answer, type Target } from "./http.ts";
import { RegistryAccess } from "./registry-access.ts";
import { safeFileName, type RemoteFile } from "./remote-file.ts";

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

/** The GGUF layers of an artefact or an image in a registry, as RamaLama, Docker, Ollama and ORAS put them there. */
export async function ociFiles(place: Place, signal: AbortSignal): Promise<RemoteFile[]> {
  const access = new RegistryAccess(place.registry, place.name);
  const layers = await ggufLayers(place, access, place.reference, signal);
  if (layers.length === 0) {
    throw new DownloadError(
      "not_found",
      `${nameOf(place)} holds no GGUF file: none of its layers is one, by media type or by title.`,
    );
  }
  return layers.map((each, number) => ({
    target: (aborted) => access.target(`blobs/${each.digest}`, aborted),
    fileName: fileNameOf(place, each, layers.length, number),
    sizeBytes: each.size,
    sha256: each.digest.slice("sha256:".length),
    denied: (status) => deniedMessage(place, status),
  }));
}

async function ggufLayers(place: Place, access: RegistryAccess, reference: string, signal: AbortSignal): Promise<Layer[]> {
  const document = await fetchManifest(place, access, reference, signal);
  const image = manifest.safeParse(document);
  if (image.success) return image.data.layers.filter(isGguf);
  const many = index.safeParse(document);
  if (!many.success)
    throw new DownloadError("unreachable", `${nameOf(place)} is neither an image nor an artefact: ${image.error.message}`);
  for (const { digest: reference } of many.data.manifests) {
    const single = manifest.safeParse(await fetchManifest(place, access, reference, signal));
    const layers = single.data?.layers.filter(isGguf) ?? [];
    if (layers.length > 0) return layers;
  }
  return [];
}

function isGguf({ mediaType, annotations }: Layer): boolean {
  const isArchive = /\.tar|\+gzip|\+zstd/.test(mediaType);
  return /gguf|vnd\.ollama\.image\.model/i.test(mediaType) || (titleOf(annotations) !== undefined && !isArchive);
}

function titleOf(annotations: Layer["annotations"]): string | undefined {
  return safeFileName(annotations?.["org.opencontainers.image.title"] ?? annotations?.["org.cncf.model.filepath"] ?? "");
}

function fileNameOf(place: Place, { annotations }: Layer, count: number, number: number): string {
  const title = titleOf(annotations);
  if (title !== undefined) return title;
  const reference = place.reference.startsWith("sha256:") ? place.reference.slice(7, 19) : place.reference;
  const stem = [place.name.split("/").at(-1) ?? "model", ...(reference === "latest" ? [] : [reference])].join("-");
  const five = (value: number) => String(value).padStart(5, "0");
  return count === 1 ? `${stem}.gguf` : `${stem}-${five(number + 1)}-of-${five(count)}.gguf`;
}

async function fetchManifest(place: Place, access: RegistryAccess, reference: string, signal: AbortSignal): Promise<unknown> {
  const target = await access.target(`manifests/${reference}`, signal);
  const answer = await ask("GET", withAccept(target), signal);
  const body = await textOf(answer);
  checkStatus(place, answer);
  try {
    return JSON.parse(body);
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
