import { lookup, type LookupAddress } from "node:dns";
import { BlockList, isIP, type LookupFunction } from "node:net";
import { DownloadError } from "./errors.ts";

/** Addresses that a download never has a reason to ask: those of this machine and of networks that are not public. */
const notPublic = new BlockList();
for (const [network, prefix] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3],
] as const) {
  notPublic.addSubnet(network, prefix, "ipv4");
}
for (const [network, prefix] of [
  ["::", 127],
  ["64:ff9b::", 96],
  ["100::", 64],
  ["2001:db8::", 32],
  ["fc00::", 7],
  ["fe80::", 10],
  ["ff00::", 8],
] as const) {
  notPublic.addSubnet(network, prefix, "ipv6");
}

/** IPv4 addresses written as IPv6 ones are judged as what they are. */
function isPublic(address: string): boolean {
  return !notPublic.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

/** @throws {DownloadError} `denied` for a literal address; names are judged by `publicLookup` when they are resolved */
export function assertPublicHost(hostname: string): void {
  const bare = hostname.replace(/^\[|\]$/g, "");
  if (isIP(bare) !== 0 && !isPublic(bare)) throw refused(bare, bare);
}

/** Resolves names, and refuses those that lead to a private address: what is checked is what is connected to. */
export const publicLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, { ...options, all: true }, (error, found) => {
    const [first] = (found as LookupAddress[] | undefined) ?? [];
    const privateOne = ((found as LookupAddress[] | undefined) ?? []).find(({ address }) => !isPublic(address));
    if (error !== null || first === undefined) callback(error ?? new Error(`${hostname} has no address`), "", 0);
    else if (privateOne !== undefined) callback(refused(hostname, privateOne.address), "", 0);
    else if (options.all === true) callback(null, found);
    else callback(null, first.address, first.family);
  });
};

function refused(hostname: string, address: string): DownloadError {
  const where = hostname === address ? address : `${hostname} (${address})`;
  return new DownloadError(
    "denied",
    `The download leads to ${where}, which is not a public address. It is refused, as it could reach what only this machine may reach. If that is your own mirror, name it in HF_ENDPOINT or in the target itself.`,
  );
}
