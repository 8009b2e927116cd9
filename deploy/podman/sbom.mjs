// What is inside an image, as CycloneDX JSON. `image.sh sbom` has the image's own Node.js read this.
import { Buffer } from "node:buffer";
import { existsSync, readFileSync } from "node:fs";

const read = (path) => readFileSync(path, "utf8");
const application = JSON.parse(read("/app/package.json"));

function npmComponents() {
  const { packages } = JSON.parse(read("/app/node_modules/.package-lock.json"));
  return Object.entries(packages)
    .filter(([path]) => existsSync(`/app/${path}/package.json`))
    .map(([path, { version, license, integrity }]) => {
      const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
      const [algorithm, digest] = (integrity ?? "").split("-");
      return {
        type: "library",
        name,
        version,
        purl: `pkg:npm/${name.replace("@", "%40")}@${version}`,
        "bom-ref": `npm:${path}`,
        ...(license && { licenses: [{ expression: license }] }),
        ...(algorithm === "sha512" && { hashes: [{ alg: "SHA-512", content: Buffer.from(digest, "base64").toString("hex") }] }),
      };
    });
}

function debianComponents() {
  const { ID } = Object.fromEntries(
    read("/etc/os-release")
      .split("\n")
      .map((line) => line.split("=")),
  );
  return read("/var/lib/dpkg/status")
    .split("\n\n")
    .map((paragraph) => Object.fromEntries(paragraph.split("\n").map((line) => line.split(": "))))
    .filter(({ Status }) => Status === "install ok installed")
    .map(({ Package, Version, Architecture }) => ({
      type: "library",
      name: Package,
      version: Version,
      purl: `pkg:deb/${ID}/${Package}@${encodeURIComponent(Version)}?arch=${Architecture}`,
      "bom-ref": `deb:${Package}:${Architecture}`,
    }));
}

const node = {
  type: "platform",
  name: "node",
  version: process.versions.node,
  purl: `pkg:generic/node@${process.versions.node}`,
};
const { name, version, license } = application;
const bom = {
  bomFormat: "CycloneDX",
  specVersion: "1.6",
  version: 1,
  metadata: { component: { type: "application", name, version, licenses: [{ expression: license }], "bom-ref": name } },
  components: [node, ...npmComponents(), ...debianComponents()],
};
process.stdout.write(`${JSON.stringify(bom, undefined, 2)}\n`);
